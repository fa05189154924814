"""Why a broker does not let us in, in a sentence: aiokafka says of all of it that it could not bootstrap."""

from __future__ import annotations

import asyncio
import ssl
import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from countersign.runtime.broker.kafka import TokenCallback, TokenError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.broker.kafka import KafkaConnection

ANSWER_MS_MAX = 3_000
_FAILURES = (KafkaError, OSError, TimeoutError, EOFError)


async def refusal_of(kafka: KafkaConnection) -> str | None:
    """Return why no broker lets us in, in one sentence; None if one does, or if none can be reached at all.

    What is returned does not mend itself by waiting: a wrong password, a certificate that does not match, a token that
    has expired, TLS at one end only, a file that cannot be read. Opens and closes a connection to each broker, and
    waits for each for 3 s at most at a time. The sentence quotes no secret.
    """
    try:
        arguments = {name: value for name, value in kafka.arguments().items() if name != "bootstrap_servers"}
    except OSError as error:
        return _of_files(kafka, error)
    if (opened := _open_key(kafka)) is not None:
        return opened
    if kafka.sasl_token_callback is not None:
        try:
            await TokenCallback(kafka.sasl_token_callback).called()
        except TokenError as error:
            return str(error)
    first = None
    for host, port, _ in collect_hosts(kafka.bootstrap_servers, randomize=False):
        broker = _Broker(host, port)
        try:
            await broker.log_in(arguments)
        except _FAILURES as error:
            words = await _words(kafka, broker, error)
            first = first or (None if words is None else f"Kafka at {host}:{port} {words}")
        else:
            return None
    return first


async def words_of_kafka(kafka: KafkaConnection) -> str:
    """Return why Kafka cannot be used, after a failure: that it does not let us in and why, or that it is away."""
    return await refusal_of(kafka) or f"Kafka at {kafka.bootstrap_servers} does not answer: is it running?"


def _of_files(kafka: KafkaConnection, error: OSError) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    files = {"ca": kafka.ca, "certificate": kafka.certificate, "certificate_key": kafka.certificate_key}
    named = ", ".join(f"{name} {path}" for name, path in files.items() if path is not None)
    return f"the PEM files of Kafka's TLS cannot be used ({named}): {reason or type(error).__name__}"


def _open_key(kafka: KafkaConnection) -> str | None:
    path = kafka.certificate_key or kafka.certificate
    if path is not None and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return f"{path} holds a private key and is open to its group or to others: chmod 600 {path}"
    return None


class _NoBrokersError(KafkaError):  # type: ignore[misc] # aiokafka has no types
    """The broker answered that the cluster has no brokers: aiokafka takes a refused token for an accepted one."""


class _Broker:
    """One address to connect to, in one way or another."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    @asynccontextmanager
    async def _connected(self, arguments: dict[str, Any]) -> AsyncIterator[Any]:
        connection = await create_conn(self._host, self._port, request_timeout_ms=ANSWER_MS_MAX, **arguments)
        try:
            yield connection
        finally:
            connection.close()

    async def log_in(self, arguments: dict[str, Any]) -> None:
        """Connect, log in and ask who the brokers are. Raises KafkaError, OSError, TimeoutError or EOFError."""
        async with self._connected(arguments) as connection:
            answer = await connection.send(MetadataRequest([]))
        if not answer.brokers:
            raise _NoBrokersError

    async def speaks_tls(self) -> bool:
        """Whether a TLS handshake gets an answer in TLS. Nothing is trusted, and nothing is sent."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            async with asyncio.timeout(ANSWER_MS_MAX / 1000):
                _, writer = await asyncio.open_connection(self._host, self._port, ssl=context)
        except ssl.SSLError as error:
            return "ALERT" in (error.reason or "")
        except (OSError, TimeoutError, EOFError):
            return False
        writer.transport.abort()
        return True

    async def speaks_plain_text(self) -> bool:
        """Whether Kafka's first request gets an answer without TLS."""
        try:
            async with self._connected({}):
                return True
        except _FAILURES:
            return False

    async def mechanisms(self, arguments: dict[str, Any]) -> list[str] | None:
        """Return by which mechanisms the broker wants a log-in, None if it wants none or does not say."""
        try:
            async with self._connected(arguments) as connection:
                answer = await connection.send(SaslHandShakeRequest("?"))
        except _FAILURES:
            return None
        return list(answer.enabled_mechanisms) if answer.error_code == UnsupportedSaslMechanismError.errno else None


async def _words(kafka: KafkaConnection, broker: _Broker, error: Exception) -> str | None:
    """Return what the broker, or we, did not like, to be read after its address; None if it may mend itself."""
    if (told := _words_of(kafka, error)) is not None:
        return told
    if kafka.encrypted:
        return await _words_over_tls(kafka, broker, error)
    if await broker.speaks_tls():
        wanted = "SASL_SSL" if kafka.logs_in else "SSL or SASL_SSL"
        return f"speaks TLS there, and security_protocol is {kafka.security_protocol}: {wanted}, or its other port"
    return await _words_of_log_in(kafka, broker, {})


def _words_of(kafka: KafkaConnection, error: Exception) -> str | None:
    """Return what an error says by itself; most only say that the broker hung up."""
    match error:
        case ssl.SSLCertVerificationError():
            return (
                f"has a certificate that does not match ({error.verify_message}): give the authority that signed it "
                "as ca, and the host names that stand in it as bootstrap_servers"
            )
        case SaslAuthenticationFailed() | _NoBrokersError() if kafka.sasl_mechanism == "OAUTHBEARER":
            return (
                f"does not accept the token of {kafka.sasl_token_callback}: it has expired, is not valid yet, "
                "or is meant for others"
            )
        case SaslAuthenticationFailed():
            return (
                f"does not accept {kafka.sasl_username} with this password by {kafka.sasl_mechanism}: "
                "look at sasl_username, sasl_password and sasl_mechanism, and whether the broker has that user"
            )
        case UnsupportedSaslMechanismError():
            return f"does not log in by {kafka.sasl_mechanism}: choose another sasl_mechanism"
        case IllegalSaslStateError():
            return (
                f"takes no log-in there, and security_protocol is {kafka.security_protocol}: "
                f"{kafka.security_protocol.removeprefix('SASL_')}, or its other port"
            )
        case _:
            return None


async def _words_over_tls(kafka: KafkaConnection, broker: _Broker, error: Exception) -> str | None:
    cause = error if isinstance(error, ssl.SSLError) else error.__cause__
    if isinstance(cause, ssl.SSLError) and "CERTIFICATE" in (cause.reason or ""):
        if kafka.certificate is None:
            return "wants a certificate of ours: give certificate and certificate_key"
        return f"does not accept our certificate {kafka.certificate}: it has expired, or another authority signed it"
    if await broker.speaks_plain_text():
        return (
            f"speaks no TLS there, and security_protocol is {kafka.security_protocol}: give the port where it does; "
            "no password was sent"
        )
    return await _words_of_log_in(kafka, broker, {**kafka.arguments(), "security_protocol": "SSL"})


async def _words_of_log_in(kafka: KafkaConnection, broker: _Broker, arguments: dict[str, Any]) -> str | None:
    if kafka.logs_in:
        return None
    wanted = await broker.mechanisms({key: value for key, value in arguments.items() if key != "bootstrap_servers"})
    if wanted is None:
        return None
    protocol = "SASL_SSL" if kafka.encrypted else "SASL_PLAINTEXT"
    return (
        f"wants a log-in, and security_protocol is {kafka.security_protocol}: {protocol}, with sasl_mechanism "
        f"{' or '.join(sorted(wanted))}"
    )
