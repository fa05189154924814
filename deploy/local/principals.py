"""Who logs in at the local Kafka: a principal for each service, one for the command line, one for whoever tries it."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from countersign.contract import AccessRequested, MemberSet
from countersign.contract.topic_files import topic_files
from countersign.operations.rights import GROUP_PREFIX, OPERATOR, Operation, Pattern, Resource, Right, wanted_rights
from deploy.local import secret_files
from deploy.local.certificates import certificates_in
from deploy.local.guard import ADMIN, Guard, Listener
from deploy.local.postgres import ROLES

if TYPE_CHECKING:
    from deploy.local.layout import Layout

TEST = "test"
PRINCIPALS = (*ROLES, OPERATOR, TEST)
_FILE = "kafka"


def passwords_of(layout: Layout) -> dict[str, str]:
    """Return the password of each principal and of the administrator, drawn on the first start."""
    path = layout.secrets / f"{_FILE}.json"
    held: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    drawn = {name: secrets.token_urlsafe(24) for name in (ADMIN, *PRINCIPALS) if name not in held}
    if drawn:
        secret_files.write(layout.secrets, _FILE, held | drawn)
    return held | drawn


def guard_of(layout: Layout) -> Guard:
    """Return how the stack's Kafka is guarded; with TLS its certificates are made on the first start."""
    port = layout.port("kafka")
    listener = Listener("CLIENTS", "SASL_SSL" if layout.tls else "SASL_PLAINTEXT", port)
    certificates = certificates_in(layout.certificates) if layout.tls else None
    return Guard(passwords_of(layout)[ADMIN], (listener,), certificates)


def names_of(layout: Layout, principal: str) -> dict[str, str]:
    """Return what a principal is told, by the names of stack.env; an unguarded Kafka needs its address alone."""
    if not layout.guarded:
        return {"KAFKA_BOOTSTRAP_SERVERS": layout.bootstrap_servers}
    return guard_of(layout).names(principal, passwords_of(layout)[principal])


def settings_of(layout: Layout, service: str) -> dict[str, str]:
    """Return a service's settings without its password, which is in its secrets file."""
    told = names_of(layout, service)
    return {name.replace("_", "__", 1): value for name, value in told.items() if name != "KAFKA_SASL_PASSWORD"}


def local_rights() -> frozenset[Right]:
    """Return the rights of everybody here."""
    return wanted_rights() | _of_test()


def _of_test() -> set[Right]:
    """Return what a person or a program may do that tries the stack: what the platform does, and read everything.

    Under groups of its own only: as a member of a service's group it would take partitions away from the service.
    """
    written = (AccessRequested.topic, MemberSet.topic)
    return {
        *(Right(TEST, Operation.WRITE, Resource.TOPIC, topic) for topic in written),
        *(
            Right(TEST, operation, Resource.TOPIC, topic.topic)
            for topic in topic_files()
            for operation in (Operation.READ, Operation.DESCRIBE_CONFIGS)
        ),
        Right(TEST, Operation.READ, Resource.GROUP, "*"),
        Right(TEST, Operation.READ, Resource.GROUP, GROUP_PREFIX, Pattern.PREFIXED, denied=True),
    }
