"""A broker that does not let us in: a sentence that names the setting, from the library, the services and the tools."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from countersign.cli import main
from countersign.client import AccessRequests, KafkaAwayError, ProducerSettings
from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.broker.kafka_refusal import refusal_of
from countersign.runtime.program.service import EXIT_SETTINGS, REFUSED_PAUSE_SECONDS
from deploy.local import secret_files
from deploy.local.checkout import CHECKOUT
from deploy.local.programs import POLICY
from tests.support.guarded_kafka import BOBS_PASSWORD, unsigned_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from deploy.local.guard import Listener
    from tests.support.guarded_kafka import GuardedKafka

    Case = Callable[[GuardedKafka], KafkaConnection]

pytestmark = pytest.mark.servers


def good_token() -> str:
    return unsigned_token("bob", 600)


def expired_token() -> str:
    return unsigned_token("bob", -60)


def failing_token() -> str:
    raise LookupError("what-nobody-may-read")


async def no_token() -> None:
    return None


def with_token(broker: GuardedKafka, function: str) -> KafkaConnection:
    return broker.by_token(f"{__name__}:{function}")


def over_tls(listener: Listener, **over: Any) -> KafkaConnection:
    return KafkaConnection(bootstrap_servers=f"127.0.0.1:{listener.port}", security_protocol="SSL", **over)


def bob(broker: GuardedKafka, listener: Listener, **over: Any) -> KafkaConnection:
    return KafkaConnection.like(broker.bob(listener), **over)


REFUSED: dict[str, tuple[Case, str]] = {
    "a wrong password": (
        lambda b: bob(b, b.sasl_tls, sasl_password="wrong"),
        "does not accept bob with this password by SCRAM-SHA-512: look at sasl_username, sasl_password",
    ),
    "an unknown user": (lambda b: bob(b, b.sasl, sasl_username="eve"), "does not accept eve with this password"),
    "a wrong password, PLAIN": (
        lambda b: bob(b, b.sasl_tls, sasl_mechanism="PLAIN"),
        "does not accept bob with this password by PLAIN",
    ),
    "another authority": (
        lambda b: bob(b, b.sasl_tls, ca=b.others.ca),
        "has a certificate that does not match (unable to get local issuer certificate): give the authority",
    ),
    "TLS to a port without": (
        lambda b: over_tls(b.open, ca=b.certificates.ca),
        "speaks no TLS there, and security_protocol is SSL",
    ),
    "TLS and log-in to a port without TLS": (
        lambda b: bob(b, b.sasl, security_protocol="SASL_SSL", ca=b.certificates.ca),
        "speaks no TLS there, and security_protocol is SASL_SSL",
    ),
    "plain text to a port with TLS": (
        lambda b: KafkaConnection(bootstrap_servers=f"127.0.0.1:{b.sasl_tls.port}"),
        "speaks TLS there, and security_protocol is PLAINTEXT: SSL or SASL_SSL",
    ),
    "log-in in plain text to a port with TLS": (
        lambda b: bob(b, b.sasl_tls, security_protocol="SASL_PLAINTEXT", ca=None),
        "speaks TLS there, and security_protocol is SASL_PLAINTEXT: SASL_SSL",
    ),
    "no log-in": (
        lambda b: KafkaConnection(bootstrap_servers=f"127.0.0.1:{b.sasl.port}"),
        "wants a log-in, and security_protocol is PLAINTEXT: SASL_PLAINTEXT, with sasl_mechanism OAUTHBEARER or",
    ),
    "no log-in over TLS": (
        lambda b: over_tls(b.sasl_tls, ca=b.certificates.ca),
        "wants a log-in, and security_protocol is SSL: SASL_SSL, with sasl_mechanism",
    ),
    "a log-in where none is taken": (
        lambda b: bob(b, b.sasl, bootstrap_servers=f"127.0.0.1:{b.open.port}"),
        "takes no log-in there, and security_protocol is SASL_PLAINTEXT: PLAINTEXT",
    ),
    "no certificate of ours": (
        lambda b: over_tls(b.mutual, ca=b.certificates.ca),
        "wants a certificate of ours: give certificate and certificate_key",
    ),
    "a certificate of another authority": (
        lambda b: over_tls(b.mutual, ca=b.certificates.ca, certificate=b.others.client),
        "does not accept our certificate",
    ),
    "an expired token": (
        lambda b: with_token(b, "expired_token"),
        f"does not accept the token of {__name__}:expired_token: it has expired",
    ),
    "a callback that fails": (lambda b: with_token(b, "failing_token"), "failing_token failed: LookupError"),
    "a callback without a token": (lambda b: with_token(b, "no_token"), "no_token returned no text but NoneType"),
    "no such callback": (lambda b: with_token(b, "nothing"), "cannot be imported"),
    "no such file": (lambda b: over_tls(b.mutual, ca=b.certificates.ca.with_name("none.pem")), "No such file"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_refusal_is_a_sentence(broker: GuardedKafka, case: str) -> None:
    """With the setting that mends it, and without any password or token."""
    make, words = REFUSED[case]
    said = await refusal_of(make(broker))
    assert said is not None
    assert words in said
    assert "\n" not in said
    for secret in (BOBS_PASSWORD, "wrong", "eyJ", "what-nobody-may-read"):
        assert secret not in said


async def test_a_certificate_for_another_host_is_a_refusal(broker: GuardedKafka) -> None:
    """The authority is right, the name is not: somebody between us and the broker, for one."""
    async with passed_on("127.0.0.2", broker.sasl_tls.port) as address:
        said = await refusal_of(bob(broker, broker.sasl_tls, bootstrap_servers=address))
    assert said is not None
    assert f"Kafka at {address} has a certificate that does not match (IP address mismatch" in said


@asynccontextmanager
async def passed_on(host: str, port: int) -> AsyncIterator[str]:
    """Listen at another address and pass the bytes on to the broker."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(4096):
            writer.write(chunk)
        writer.close()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_us, to_broker = await asyncio.open_connection("127.0.0.1", port)
        with suppress(OSError):
            await asyncio.gather(carry(reader, to_broker), carry(to_us, writer))

    server = await asyncio.start_server(accepted, host)
    async with server:
        yield f"{host}:{server.sockets[0].getsockname()[1]}"


async def test_no_refusal_is_told_of_who_is_let_in_or_of_nobody_there(broker: GuardedKafka) -> None:
    """One broker of several is enough; a port where nobody listens may be a broker that starts later."""
    closed = "127.0.0.1:9"
    assert await refusal_of(KafkaConnection(bootstrap_servers=closed)) is None
    both = f"{closed},127.0.0.1:{broker.sasl_tls.port}"
    assert await refusal_of(bob(broker, broker.sasl_tls, bootstrap_servers=both)) is None
    said = await refusal_of(bob(broker, broker.sasl_tls, bootstrap_servers=both, sasl_password="wrong"))
    assert said is not None
    assert f"Kafka at 127.0.0.1:{broker.sasl_tls.port} does not accept bob" in said


async def test_a_key_that_others_can_read_is_refused(broker: GuardedKafka) -> None:
    """As a secrets file is."""
    key = broker.certificates.client
    key.chmod(0o640)
    try:
        said = await refusal_of(over_tls(broker.mutual, ca=broker.certificates.ca, certificate=key))
    finally:
        key.chmod(0o600)
    assert said is not None
    assert f"chmod 600 {key}" in said


async def test_the_client_library_says_it(broker: GuardedKafka) -> None:
    """When it submits, and when it asks."""
    settings = ProducerSettings.like(bob(broker, broker.sasl_tls, sasl_password="wrong"), submit_seconds=5)
    async with AccessRequests("gateway", settings) as requests:
        with pytest.raises(KafkaAwayError, match="does not accept bob with this password"):
            await requests.reach()


@pytest.mark.parametrize("command", [["lag"], ["publish-example", "access.requested"]])
def test_the_command_line_says_it(
    broker: GuardedKafka, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """From KAFKA_… in the environment; exit code 2."""
    _tell(monkeypatch, bob(broker, broker.sasl_tls))
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "wrong")
    assert main(command) == 2
    assert "does not accept bob with this password" in capsys.readouterr().err
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_TLS")
    assert main(command) == 2
    assert "security_protocol" in capsys.readouterr().err


def _tell(monkeypatch: pytest.MonkeyPatch, kafka: KafkaConnection) -> None:
    monkeypatch.setenv("DATA", "/nowhere")
    for name, value in names_of(kafka).items():
        monkeypatch.setenv(name, value)


def names_of(kafka: KafkaConnection, prefix: str = "KAFKA_") -> dict[str, str]:
    given = {name: getattr(kafka, name) for name in KafkaConnection.model_fields}
    secret = {name: value.get_secret_value() for name, value in given.items() if hasattr(value, "get_secret_value")}
    return {f"{prefix}{name.upper()}": str(value) for name, value in (given | secret).items() if value is not None}


def start_service(folder: Path, kafka: KafkaConnection) -> subprocess.Popen[str]:
    drawn = secret_files.with_dsns(
        secret_files.draw(), dict.fromkeys(secret_files.draw(), "postgresql://127.0.0.1:9/no")
    )
    file = secret_files.write(folder, "risk_evaluator", drawn["risk_evaluator"])
    environment = {
        "COUNTERSIGN_SECRETS_FILE": str(file),
        "COUNTERSIGN_POLICY_FILE": str(POLICY),
        "COUNTERSIGN_JWKS_URL": "http://127.0.0.1:9/jwks",
        **names_of(kafka, "COUNTERSIGN_KAFKA__"),
    }
    argv = [sys.executable, "-m", "services.risk_evaluator", "run"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(argv, cwd=CHECKOUT, env={**os.environ, **environment}, **pipes)


def test_a_service_says_it_once_and_pauses(broker: GuardedKafka, tmp_path: Path) -> None:
    """One sentence on stderr, no stack trace, exit code 78; a supervisor cannot start it again at once."""
    service = start_service(tmp_path, bob(broker, broker.sasl_tls, sasl_password="wrong"))
    assert service.stderr is not None
    told = service.stderr.readline()
    began = time.monotonic()
    out, rest = service.communicate(timeout=60)
    assert time.monotonic() - began > REFUSED_PAUSE_SECONDS - 1
    assert service.returncode == EXIT_SETTINGS
    assert told.startswith("risk_evaluator: Kafka at 127.0.0.1:")
    assert "does not accept bob with this password" in told
    assert "Traceback" not in out + rest
    assert rest == ""


def test_a_service_that_pauses_ends_when_it_is_told_to(broker: GuardedKafka, tmp_path: Path) -> None:
    """Whoever mends the settings does not wait."""
    service = start_service(tmp_path, bob(broker, broker.sasl_tls, ca=broker.others.ca))
    assert service.stderr is not None
    assert "has a certificate that does not match" in service.stderr.readline()
    service.send_signal(signal.SIGTERM)
    began = time.monotonic()
    service.communicate(timeout=60)
    assert time.monotonic() - began < REFUSED_PAUSE_SECONDS - 1
    assert service.returncode == EXIT_SETTINGS
