"""The demonstration: an account with two-factor on, its people, their phones, and 500 contacts in three lists."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from deploy.local import secret_files

if TYPE_CHECKING:
    from deploy.local.layout import Layout

# Numbers that Australia and Sweden keep free for fiction, so no text could ever reach anybody.
_PEOPLE = (
    ("OWNER", "owner", "Olivia Marsh", "olivia@example.com", "+61491570006", "en"),
    ("MANAGED_1", "managed", "Ben Ito", "ben@example.com", "+61491570156", "en"),
    ("MANAGED_2", "managed", "Clara Weiss", "clara@example.com", "+61491570157", "de"),
    ("MANAGER", "account_manager", "Dana Reyes", "dana@platform.example", "+46701740605", "en"),
    ("MANAGER2", "account_manager", "Emil Holm", "emil@platform.example", "+61491570158", "en"),
)
_LISTS = (("Newsletter", 300), ("Customers", 150), ("Conference guests", 50))
_FIRST_NAMES = "Ada Bo Chloé Dev Élise Farid Grete Hana Ivo Jun Kofi Lena Miro Nia Oskar Pia Quentin Rosa Sven Tomás"
_LAST_NAMES = (
    "Abel Brandt Costa Duarte Eriksen Fischer García Hansen Ivanova Jansen Keller Lindqvist Müller Nowak "
    "O'Brien Petrov Quist Rossi Silva Tanaka Ueda Vogel Weber Yilmaz Zhang"
)


def draw() -> dict[str, object]:
    """Draw a demonstration: new ids and passwords, the same people and contacts."""
    account_id, staff_account_id = uuid4(), uuid4()
    people = [
        {
            "key": key,
            "user_id": str(uuid4()),
            "account_id": str(staff_account_id if role == "account_manager" else account_id),
            "role": role,
            "name": name,
            "email": email,
            "password": _password(),
            "number": number,
            "number_id": str(uuid4()),
            "locale": locale,
        }
        for key, role, name, email, number, locale in _PEOPLE
    ]
    return {
        "account_id": str(account_id),
        "staff_account_id": str(staff_account_id),
        "two_factor": True,
        "people": people,
        "lists": _lists(),
    }


def _password() -> str:
    """Draw 59 bits that are easily typed from one screen into another."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(3))


def _lists() -> list[dict[str, object]]:
    names = [(first, last) for last in _LAST_NAMES.split() for first in _FIRST_NAMES.split()]  # 500, each once
    lists: list[dict[str, object]] = []
    for title, size in _LISTS:
        taken, names = names[:size], names[size:]
        contacts = [
            {"contact_id": str(uuid4()), "name": f"{first} {last}", "email": f"{title[:4].lower()}{number}@example.net"}
            for number, (first, last) in enumerate(taken, start=1)
        ]
        lists.append({"list_id": str(uuid4()), "name": title, "contacts": contacts})
    return lists


def seed_of(layout: Layout) -> dict[str, Any]:
    """Return this stack's demonstration, drawn and written on the first start and never changed."""
    if not layout.seed.exists():
        secret_files.write(layout.data, layout.seed.stem, draw())
    seed: dict[str, Any] = json.loads(layout.seed.read_text())
    return seed
