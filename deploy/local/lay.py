"""What servers need before services start: topics, roles, migrations, and a file of secrets for each service.

`python -m deploy.local.lay` does it from the environment, for compose.yaml: KAFKA_BOOTSTRAP_SERVERS, POSTGRES_DSN
(the superuser's), and DATA, where secrets and seed are kept.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from countersign.operations.kafka_users import set_passwords
from countersign.operations.rights import add_rights
from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.database.postgres import migrate
from deploy.local import postgres, secret_files
from deploy.local.guard import ADMIN
from deploy.local.layout import from_environment
from deploy.local.principals import local_rights
from deploy.local.programs import sow
from deploy.local.seeds import seed_of
from deploy.local.together import together
from deploy.local.topics import make_topics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


async def lay(
    kafka: KafkaConnection,
    superuser_dsn: str,
    secrets_folder: Path,
    staff_account_id: str,
    passwords: Mapping[str, str] | None = None,
) -> secret_files.Secrets:
    """Lay everything, and return the secrets that were written. Doing it again changes nothing.

    `kafka` is an administrator's connection. With `passwords` of its principals they may log in, with their rights.
    """
    await together([_lay_kafka(kafka, passwords), postgres.lay_roles(superuser_dsn)])
    dsns = {role: postgres.dsn_of(role, superuser_dsn) for role in postgres.ROLES}
    for role in postgres.ROLES:  # in order: a view is granted and read across schemas
        await migrate(dsns[role], role)
    drawn = secret_files.draw(secret_files.read(secrets_folder))
    secrets = secret_files.with_dsns(drawn, dsns)
    if passwords is not None:
        secrets = secret_files.with_logins(secrets, passwords)
    secrets["enrolment"]["staff_account_id"] = staff_account_id  # drawn like the rest, so it lies with the rest
    for name, held in secrets.items():
        secret_files.write(secrets_folder, name, held)
    return secrets


async def _lay_kafka(kafka: KafkaConnection, passwords: Mapping[str, str] | None) -> None:
    await make_topics(kafka)
    if passwords is not None:
        await set_passwords(kafka, {name: text for name, text in passwords.items() if name != ADMIN})
        await add_rights(kafka, local_rights())


async def _from_environment() -> None:
    layout = replace(from_environment(), guarded=False)
    staff = str(seed_of(layout)["staff_account_id"])
    await lay(KafkaConnection.named(os.environ), os.environ["POSTGRES_DSN"], layout.secrets, staff)
    await sow(layout)
    print(f"all is laid; the demonstration's log-ins are in {layout.seed}")


if __name__ == "__main__":
    asyncio.run(_from_environment())
