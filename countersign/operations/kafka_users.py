"""Users of Kafka that log in by SCRAM: their passwords are set by a request that aiokafka has no call for.

What goes to the broker is the salted password of RFC 5802, not the password.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING, ClassVar

from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactBytes, CompactString, Int8, Int16, Int32, Schema, TaggedFields

from countersign.operations.connecting import answer_to

if TYPE_CHECKING:
    from collections.abc import Mapping

    from countersign.runtime.broker.kafka import KafkaConnection

ITERATIONS = 8192  # Kafka takes 4096 (RFC 5802) to 16384; each log-in of a client computes it once
_MECHANISMS = {"SCRAM-SHA-256": (1, "sha256"), "SCRAM-SHA-512": (2, "sha512")}  # Kafka's number, the hash


class _Answer(Response):  # type: ignore[misc] # aiokafka has no types
    API_KEY: ClassVar[int] = 51
    API_VERSION: ClassVar[int] = 0
    SCHEMA: ClassVar[Schema] = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString("utf-8")),
                ("error_code", Int16),
                ("error_message", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _Wire(RequestStruct):  # type: ignore[misc] # aiokafka has no types
    FLEXIBLE_VERSION: ClassVar[bool] = True
    API_KEY: ClassVar[int] = 51
    API_VERSION: ClassVar[int] = 0
    RESPONSE_TYPE: ClassVar[type[Response]] = _Answer
    SCHEMA: ClassVar[Schema] = Schema(
        ("deletions", CompactArray(("name", CompactString("utf-8")), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString("utf-8")),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterUserScramCredentials(Request[_Wire]):  # type: ignore[misc] # aiokafka has no types
    API_KEY: ClassVar[int] = 51

    def __init__(self, upsertions: list[tuple[object, ...]]) -> None:
        self._upsertions = upsertions

    def build(self, request_struct_class: type[_Wire]) -> _Wire:
        """Return what is sent."""
        return request_struct_class([], self._upsertions, {})


async def set_passwords(kafka: KafkaConnection, passwords: Mapping[str, str], mechanism: str = "SCRAM-SHA-512") -> None:
    """Make users, or give those that exist a new password; nobody who is logged in is logged out.

    `kafka` is an administrator's connection. Raises KafkaError, OSError or TimeoutError; what one user was refused for
    is in the error's text.
    """
    upsertions = [_upsertion(name, password, mechanism) for name, password in passwords.items()]
    answer = await answer_to(kafka, _AlterUserScramCredentials(upsertions))
    for user, code, message, _ in answer.results:
        if code:
            raise for_code(code)(f"user {user}: {message or ''}")


def _upsertion(name: str, password: str, mechanism: str) -> tuple[object, ...]:
    number, hashed_by = _MECHANISMS[mechanism]
    salt = secrets.token_bytes(24)
    salted = hashlib.pbkdf2_hmac(hashed_by, password.encode(), salt, ITERATIONS)
    return name, number, ITERATIONS, salt, salted, {}
