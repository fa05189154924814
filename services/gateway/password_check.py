"""The check of a password with its limits, the same for a log-in and where a page asks for it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.places import place_of
from countersign.policy import PlaceRules
from countersign.typed import password_of
from services.gateway import store
from services.gateway.decide import EMAIL_CHARACTERS_MAX, PASSWORD_CHARACTERS_MAX, folded, may_use, tries_of

if TYPE_CHECKING:
    from services.gateway.gate import Gate
    from services.gateway.model import Person
    from services.gateway.visitor import Visitor

# Which addresses are worth remembering is the risk-evaluator's policy; to count tries every one is a place.
_EVERY_ADDRESS = PlaceRules(unusable=())


async def person_of(gate: Gate, visitor: Visitor, email: str, password: str) -> Person | None:
    """Return whose e-mail and password these are. Raises store.TryRefusedError and PasswordsBusyError.

    The work is the same whether somebody has the address or not: one look, one try, one hash. A try that was not
    judged, as there was no room or a server failed, is not counted.
    """
    address = folded(email)[:EMAIL_CHARACTERS_MAX]
    attempt = await store.login_attempt(gate.pool, address, visitor.seen_from)
    device = gate.browser_key.device_of(visitor.device, address, attempt.now)
    place = place_of(visitor.ip, _EVERY_ADDRESS)
    tries = tries_of(address, place, place_known=attempt.place_known, device=device)
    with gate.passwords.room(known=attempt.place_known or device is not None):
        await store.take_try(gate.pool, tries)
        try:
            person = await _judged(gate, attempt.person, password)
        except BaseException:
            await store.give_back(gate.pool, tries)
            raise
    if person is None:
        gate.log.info("password_refused", ip=visitor.ip)
        return None
    await store.give_back(gate.pool, tries)
    return person


async def _judged(gate: Gate, person: Person | None, password: str) -> Person | None:
    """Return the person if the password is theirs and this is their site. The caller holds the room for it."""
    text = typed = password[:PASSWORD_CHARACTERS_MAX]
    if person is None or person.password_nfkc:
        text = password_of(typed)
    fits = len(password) <= PASSWORD_CHARACTERS_MAX
    right = await gate.passwords.right(person.password if person is not None else None, text) and fits
    if person is None or not right or not may_use(staff=person.staff, site=gate.site):
        return None
    if not person.password_nfkc:
        # From here on the password is right however a keyboard composes it.
        stable = password_of(typed)
        hashed = person.password if stable == typed else await gate.passwords.hash_later(stable)
        await store.keep_rehashed(gate.pool, person.user_id, person.password, hashed)
    return person
