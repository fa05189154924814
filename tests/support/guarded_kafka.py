"""A real broker with every kind of log-in, for tests about who gets in and who may do what."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from countersign.operations.kafka_users import set_passwords
from countersign.runtime.broker.kafka import KafkaConnection
from deploy.local import kafka
from deploy.local.certificates import certificates_in
from deploy.local.guard import ADMIN, Guard, Listener
from deploy.local.jars import fetch_jars
from deploy.local.process import free_ports, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from deploy.local.certificates import Certificates

MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER")
BOB, BOBS_PASSWORD = "bob", "bob's own, password=1"


@dataclass(frozen=True)
class GuardedKafka:
    """Listeners of a broker that runs, and two authorities: its own, and one that it does not know."""

    guard: Guard
    certificates: Certificates
    others: Certificates
    sasl_tls: Listener
    sasl: Listener
    mutual: Listener
    open: Listener

    def bob(self, listener: Listener | None = None, mechanism: str = "SCRAM-SHA-512") -> KafkaConnection:
        """Return how a user without any rights connects."""
        return self.guard.connection(BOB, BOBS_PASSWORD, listener, mechanism=mechanism)

    def by_token(self, callback: str) -> KafkaConnection:
        """Return how somebody connects with the token that `module:function` gives."""
        return KafkaConnection(
            bootstrap_servers=f"127.0.0.1:{self.sasl_tls.port}",
            security_protocol="SASL_SSL",
            sasl_mechanism="OAUTHBEARER",
            sasl_token_callback=callback,
            ca=self.certificates.ca,
        )


@asynccontextmanager
async def guarded_kafka() -> AsyncIterator[GuardedKafka]:
    """Start the broker and end it. On its open listener everybody may do everything."""
    fetch_jars()
    folder = Path(tempfile.mkdtemp(prefix="countersign-guarded-"))
    controller, *ports = free_ports(5)
    certificates, others = certificates_in(folder / "ours"), certificates_in(folder / "others")
    listeners = (
        Listener("SASLTLS", "SASL_SSL", ports[0], MECHANISMS),
        Listener("SASL", "SASL_PLAINTEXT", ports[1], MECHANISMS),
        Listener("MUTUAL", "SSL", ports[2], client_certificates=True),
        Listener("OPEN", "PLAINTEXT", ports[3]),
    )
    guard = Guard("for-tests-only", listeners, certificates, superusers=(ADMIN, "ANONYMOUS"))
    process = await started(kafka.program(folder / "kafka", port=ports[0], controller_port=controller, guard=guard))
    try:
        for mechanism in ("SCRAM-SHA-512", "SCRAM-SHA-256"):
            await set_passwords(guard.administrator(), {BOB: BOBS_PASSWORD}, mechanism)
        yield GuardedKafka(guard, certificates, others, *listeners)
    finally:
        await process.end()
        shutil.rmtree(folder, ignore_errors=True)


def unsigned_token(name: str, seconds: float) -> str:
    """Return a token that Kafka's OAUTHBEARER takes where no key is configured: an unsecured JWS, good that long."""
    now = time.time()
    parts = ({"alg": "none"}, {"sub": name, "iat": now - 3600, "exp": now + seconds})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return f"{'.'.join(encoded)}."
