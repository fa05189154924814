"""How the gateway is put together."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager, closing
from functools import partial
from typing import TYPE_CHECKING

from countersign.client import AccessRequests, Challenges, Decisions, Grants, ProducerSettings
from countersign.operations.doctor.of_service import jwks_check, kafka_check
from countersign.runtime.due_work.sweep import Sweep
from countersign.runtime.program.frame import Parts, Service
from countersign.runtime.program.limits import retention_limits
from countersign.runtime.settings import Limit
from countersign.runtime.web import http, streaming
from services.gateway import decide, fold, retention, words
from services.gateway.browser_key import DEVICE_LIFE, BrowserKey
from services.gateway.console.calls import ManagerCalls
from services.gateway.console.decide_requests import RECENT_ON_ACCOUNT_MAX
from services.gateway.enrolment import Enrolment
from services.gateway.gate import Gate
from services.gateway.guard import FORM_BYTES_MAX, FORM_SECONDS_MAX
from services.gateway.model import Site
from services.gateway.passwords import Passwords
from services.gateway.render import Pages
from services.gateway.seed import seed
from services.gateway.settings import GatewaySettings
from services.gateway.settings_pages import decide as settings_pages
from services.gateway.site import application
from services.gateway.upstream import ANSWERED_SECONDS, Exports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from countersign.runtime.program.frame import Check, Frame

SWEPT_EVERY_SECONDS = 300.0  # chosen: a session that is over opens nothing meanwhile
# Chosen: somebody looks at an empty page meanwhile, and sees one after 5 s at most, whatever is away: a log-in submits,
# waits for 2 s, and is sent on to a page that asks once more.
SUBMIT_SECONDS = 2.0
DECIDED_GRACE_SECONDS = 1.25

_PAGE_IN_TIME = "chosen: whoever waits sees a page after 5 s at most"


@asynccontextmanager
async def _grants(frame: Frame[GatewaySettings]) -> AsyncIterator[Grants]:
    settings = frame.settings
    async with (
        Grants(str(settings.jwks_url), issuer=settings.issuer, audience=settings.audience) as grants,
        grants.keeping_fresh(partial(frame.health.tell, "verifier.keys")),
    ):
        yield grants


@asynccontextmanager
async def wire(frame: Frame[GatewaySettings]) -> AsyncIterator[Parts]:
    """Two sites, two folds that end sessions, and a sweep."""
    settings = frame.settings
    token = settings.services.token.get_secret_value()
    verifier, enrolment_url = str(settings.services.verifier_url), str(settings.services.enrolment_url)
    kafka = ProducerSettings.like(settings.kafka, submit_seconds=SUBMIT_SECONDS)
    async with AsyncExitStack() as stack:
        requests = await stack.enter_async_context(AccessRequests("gateway", kafka, tracer=frame.tracer))
        decisions = await stack.enter_async_context(Decisions(verifier, token, grace_seconds=DECIDED_GRACE_SECONDS))
        challenges = await stack.enter_async_context(Challenges(verifier, token, answered_in_seconds=ANSWERED_SECONDS))
        grants = await stack.enter_async_context(_grants(frame))
        exports = Exports(str(settings.services.exports_url), token)
        enrolment, manager_calls = Enrolment(enrolment_url, token), ManagerCalls(enrolment_url, token)
        for upstream in (exports, enrolment, manager_calls):
            stack.push_async_callback(upstream.close)
        passwords = stack.enter_context(closing(Passwords(settings.password)))

        def site(which: Site) -> http.Site:
            console = which is Site.CONSOLE
            gate = Gate(
                site=which,
                url=settings.console_url if console else settings.public_url,
                settings=settings,
                pool=frame.pool,
                passwords=passwords,
                browser_key=BrowserKey(settings.browser_key.get_secret_value()),
                requests=requests,
                decisions=decisions,
                challenges=challenges,
                grants=grants,
                exports=exports,
                enrolment=enrolment,
                manager_calls=manager_calls,
                pages=Pages(which, demo=settings.local is not None and not console),
                languages=words.load(),
                metrics=frame.metrics,
                tracer=frame.tracer,
                log=frame.log,
            )
            port = settings.console_port if console else settings.port
            return http.Site(
                application(gate), settings.host, port, which.value, settings.connections, settings.trusted_proxies
            )

        yield Parts(
            folds=(fold.members(), fold.settings()),
            small_dues=(Sweep(retention.RULES, SWEPT_EVERY_SECONDS),),
            sites=(site(Site.PAGES), site(Site.CONSOLE)),
        )


def limits(settings: GatewaySettings) -> Sequence[Limit]:
    """Return every limit of the gateway."""
    hashing = "OWASP Password Storage Cheat Sheet: Argon2id with at least 19 MiB, two passes, one lane"
    password = settings.password
    return [
        Limit("sessions.idle_max", str(decide.IDLE_MAX), "NIST SP 800-63B-3, 4.2.3: 30 minutes without activity"),
        Limit("sessions.life_max", str(decide.LIFE_MAX), "NIST SP 800-63B-3, 4.2.3: 12 hours in all"),
        Limit("logins.decided_within", str(decide.DECIDED_WITHIN), "chosen: an older request is denied anyway"),
        *(
            Limit(f"password_tries.{name}", f"{rate.burst} at once, then one per {rate.every}", rate.source)
            for name, rate in (
                ("place", decide.PLACE_RATE),
                ("email", decide.EMAIL_RATE),
                ("device", decide.DEVICE_RATE),
            )
        ),
        Limit("devices.life_max", str(DEVICE_LIFE), "chosen: a browser that is used twice a year stays known"),
        Limit("logins.handed_over_within", str(decide.HANDED_OVER_WITHIN), "chosen: a page loaded again after a break"),
        Limit("passwords.memory", f"{password.memory_kib} KiB", hashing),
        Limit("passwords.passes", str(password.passes), hashing),
        Limit("passwords.threads", str(password.threads), "chosen: hashing leaves the other cores to the pages"),
        Limit("passwords.waiting_max", str(password.waiting_max), "chosen: about a second of hashing, then 503"),
        Limit(
            "passwords.strangers_max",
            str(password.waiting_max // 2),
            "chosen: half is for known places and browsers",
        ),
        Limit(
            "passwords.characters_max", str(decide.PASSWORD_CHARACTERS_MAX), "NIST SP 800-63B-4, 3.1.1.2: 64 or more"
        ),
        Limit("kafka.submit_max", f"{SUBMIT_SECONDS:g} s", _PAGE_IN_TIME),
        Limit("verifier.decided_grace", f"{DECIDED_GRACE_SECONDS:g} s", _PAGE_IN_TIME),
        Limit("upstream.answered_max", f"{ANSWERED_SECONDS:g} s", _PAGE_IN_TIME),
        Limit("forms.seconds_max", f"{FORM_SECONDS_MAX:.0f} s", "chosen: a form over a bad line, and no longer"),
        Limit("forms.bytes_max", str(FORM_BYTES_MAX), "chosen: the longest form has two fields of text"),
        Limit(
            "settings.password_again_after",
            str(settings_pages.PASSWORD_AGAIN_AFTER),
            "OWASP ASVS 5.0, 7.5.1: the password again before sensitive changes; 5 minutes: chosen",
        ),
        Limit("settings.draft_life", str(settings_pages.DRAFT_LIFE), "chosen: two codes of 5 minutes and some reading"),
        Limit("settings.places_shown", str(settings_pages.PLACES_MAX), "chosen: what a form of 16 KiB carries twice"),
        Limit("settings.people_a_page", str(settings_pages.PEOPLE_A_PAGE), "chosen: a list that can be looked through"),
        Limit("console.requests_on_account", str(RECENT_ON_ACCOUNT_MAX), "chosen: the rest of them is one link away"),
        Limit("settings.activity_rows", str(settings_pages.ACTIVITY_ROWS_MAX), "chosen: a few weeks of most people"),
        *(Limit(*limit) for limit in streaming.LIMITS),
        *retention_limits(retention.RULES),
    ]


def checks(settings: GatewaySettings) -> Sequence[Check]:
    """Return what it needs beside PostgreSQL."""
    return [kafka_check("gateway", settings.kafka), jwks_check(str(settings.jwks_url))]


SERVICE = Service(name="gateway", settings=GatewaySettings, wire=wire, limits=limits, seed=seed, checks=checks)
