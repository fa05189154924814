"""The demonstration's people, through this service's own store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, SecretStr

from countersign.typed import password_of
from services.gateway import store
from services.gateway.decide import folded
from services.gateway.model import Person
from services.gateway.passwords import Passwords

if TYPE_CHECKING:
    from collections.abc import Mapping

    from countersign.runtime.database.postgres import Pool
    from services.gateway.settings import GatewaySettings


class SeedPerson(BaseModel):
    """A person of the seed file, as far as the gateway is concerned."""

    model_config = ConfigDict(frozen=True)

    user_id: UUID
    account_id: UUID
    role: str
    name: str
    email: str
    password: SecretStr


class SeedFile(BaseModel):
    """The part of the seed file that the gateway takes."""

    people: list[SeedPerson]


async def seed(pool: Pool, settings: GatewaySettings, content: Mapping[str, Any]) -> None:
    """Seed people who are not there yet; those who are stay as they are."""
    wanted = SeedFile.model_validate(content)
    passwords = Passwords(settings.password)
    try:
        async with pool.acquire() as db, db.transaction():
            for person in wanted.people:
                await store.seed_person(
                    db,
                    Person(
                        user_id=person.user_id,
                        account_id=person.account_id,
                        email=folded(person.email),
                        name=person.name,
                        staff=person.role == "account_manager",
                        password=passwords.hash(password_of(person.password.get_secret_value())),
                    ),
                )
    finally:
        passwords.close()
