"""Where the servers are: an option, then the environment, then what a running local stack wrote down."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.messages.findings import findings

if TYPE_CHECKING:
    from collections.abc import Mapping


LOCAL = "local"
OPERATOR_KAFKA = "OPERATOR_KAFKA_"


class CommandFailedError(Exception):
    """What kept a command from doing its work, in a sentence that says what helps."""


@dataclass(frozen=True)
class Surroundings:
    """Named addresses, ids and secrets; `get` gives None for what nobody named."""

    named: Mapping[str, str]

    @classmethod
    def found(cls) -> Surroundings:
        """Return those of this process."""
        file = Path(os.environ.get("DATA", ".local")) / "stack.env"
        try:
            lines = file.read_text("utf-8").splitlines()
        except OSError:
            lines = []
        written = {name: value for name, _, value in (line.partition("=") for line in lines)}
        if any(name.startswith("KAFKA_") for name in os.environ):  # another cluster, or another log-in, is meant
            written = {name: value for name, value in written.items() if not name.startswith(OPERATOR_KAFKA)}
        return cls(written | os.environ)

    def get(self, name: str) -> str | None:
        """Return a value, None for one that nobody named or that is empty."""
        return self.named.get(name) or None

    def kafka(self, bootstrap: str | None, *, as_producer: bool = False) -> KafkaConnection:
        """Return how to reach Kafka: KAFKA_BOOTSTRAP_SERVERS, KAFKA_SECURITY_PROTOCOL and so on.

        Where OPERATOR_KAFKA_SASL_USERNAME and its password are given, they are the log-in, unless it is `as_producer`.
        Raises CommandFailedError.
        """
        servers = self.need("KAFKA_BOOTSTRAP_SERVERS", bootstrap, "--bootstrap")
        operators = {
            name.removeprefix("OPERATOR_"): value
            for name, value in self.named.items()
            if name.startswith(OPERATOR_KAFKA) and not as_producer
        }
        try:
            return KafkaConnection.named({**self.named, **operators}, bootstrap_servers=servers)
        except ValidationError as error:
            raise CommandFailedError(f"KAFKA_… are not right: {'; '.join(findings(error))}") from None

    @property
    def is_local(self) -> bool:
        """Return True on a stack of one's own, as its stack.env says; whatever says nothing is production."""
        return self.get("OPERATOR_CONTEXT") == LOCAL

    def need(self, name: str, given: str | None, option: str) -> str:
        """Return what an option gave, or else the named value. Raises CommandFailedError."""
        value = given or self.get(name)
        if value is None:
            raise CommandFailedError(f"no address: give {option}, set {name}, or start the local stack with `make run`")
        return value
