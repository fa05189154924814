"""How to reach Kafka: addresses, TLS and log-in, and the arguments that aiokafka's clients take for them.

Services, command line and client library share this. Nothing here is checked against a broker; `kafka_refusal` does.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import collect_hosts
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER"]
_PASSWORD: tuple[str, ...] = ("sasl_username", "sasl_password")
_CALLBACK: tuple[str, ...] = ("sasl_token_callback",)
_PORT_MAX = 65_535
_TLS = ("ca", "certificate", "certificate_key", "certificate_key_password")


class KafkaConnection(BaseModel):
    """Addresses of the brokers, and how to prove who we are and who they are.

    `ca`, `certificate` and `certificate_key` are PEM files; without `ca` the system's authorities are trusted. The
    host name of a broker is always compared with its certificate. `sasl_token_callback` is `module:function`: a
    function without parameters, sync or async, that returns the token of OAUTHBEARER as text. It is called for each
    connection, so a token may be short-lived.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    bootstrap_servers: str = Field(min_length=1)
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    sasl_token_callback: str | None = Field(None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    ca: Path | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    certificate_key_password: SecretStr | None = None

    @classmethod
    def named(cls, names: Mapping[str, str], **over: Any) -> Self:
        """Return what KAFKA_BOOTSTRAP_SERVERS, KAFKA_SECURITY_PROTOCOL and so on say: each field in upper case.

        `names` are environment variables or the lines of stack.env; empty ones count as absent. Raises ValidationError.
        """
        found = {field: names.get(f"KAFKA_{field.upper()}") for field in KafkaConnection.model_fields}
        return cls(**{field: value for field, value in found.items() if value} | over)

    @classmethod
    def like(cls, other: KafkaConnection, **over: Any) -> Self:
        """Return the same connection with fields of its own."""
        return cls(**{field: getattr(other, field) for field in KafkaConnection.model_fields} | over)

    @property
    def logs_in(self) -> bool:
        """Whether a name and a password, or a token, is given to the broker."""
        return self.security_protocol.startswith("SASL_")

    @property
    def encrypted(self) -> bool:
        """Whether the connection is over TLS."""
        return self.security_protocol.endswith("SSL")

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses_can_be_read(cls, text: str) -> str:
        """Refuse what aiokafka's clients would end with a stack trace for."""
        try:
            good = all(host and 0 < port <= _PORT_MAX for host, port, _ in collect_hosts(text, randomize=False))
        except ValueError:
            good = False
        if not good:
            raise ValueError("expected HOST:PORT, several with a comma between")
        return text

    @model_validator(mode="after")
    def _log_in_is_whole(self) -> Self:
        """Refuse half a log-in, and one that would silently not be used."""
        if not self.logs_in:
            if unused := self._given("sasl_mechanism", *_PASSWORD, *_CALLBACK):
                raise ValueError(
                    f"{unused[0]}: not used with security_protocol {self.security_protocol}; SASL_SSL logs in"
                )
            return self
        if self.sasl_mechanism is None:
            raise ValueError(f"sasl_mechanism: needed with security_protocol {self.security_protocol}")
        needed, unwanted = (_CALLBACK, _PASSWORD) if self.sasl_mechanism == "OAUTHBEARER" else (_PASSWORD, _CALLBACK)
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"{name}: needed with sasl_mechanism {self.sasl_mechanism}")
        if given := self._given(*unwanted):
            raise ValueError(f"{given[0]}: not used with sasl_mechanism {self.sasl_mechanism}")
        return self

    @model_validator(mode="after")
    def _certificates_are_whole(self) -> Self:
        if not self.encrypted and (given := self._given(*_TLS)):
            raise ValueError(f"{given[0]}: not used with security_protocol {self.security_protocol}; SASL_SSL uses TLS")
        if self.certificate is None and (given := self._given("certificate_key", "certificate_key_password")):
            raise ValueError(f"certificate: needed with {given[0]}")
        return self

    def _given(self, *names: str) -> list[str]:
        return [name for name in names if getattr(self, name) is not None]

    def arguments(self) -> dict[str, Any]:
        """Return the arguments for a consumer, producer or admin client of aiokafka; the files are read anew.

        Raises OSError (ssl.SSLError is one) if a file of certificates cannot be used.
        """
        found: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
        }
        if self.encrypted:
            found["ssl_context"] = self._ssl_context()
        if self.logs_in:
            found["sasl_mechanism"] = self.sasl_mechanism
        if self.sasl_password is not None:
            found |= {
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password.get_secret_value(),
            }
        if self.sasl_token_callback is not None:
            found["sasl_oauth_token_provider"] = TokenCallback(self.sasl_token_callback)
        return found

    def _ssl_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            password = self.certificate_key_password
            # Without a password OpenSSL would ask the terminal for one.
            text = "" if password is None else password.get_secret_value()
            context.load_cert_chain(self.certificate, self.certificate_key, text)
        return context


class TokenError(Exception):
    """The token callback cannot be found, failed or returned no token; the text is one sentence for the operator."""


class TokenCallback(AbstractTokenProvider):  # type: ignore[misc] # aiokafka has no types
    """Calls `module:function` for each token. A function that is not async runs in a thread: it may ask a server."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def token(self) -> str:
        """Return a token. Raises ConnectionError for a callback that fails, so that callers wait and try again."""
        try:
            return await self.called()
        except TokenError as error:
            raise ConnectionError(str(error)) from error

    async def called(self) -> str:
        """Return what the callback gives. Raises TokenError."""
        function = self._function()
        try:
            asynchronous = inspect.iscoroutinefunction(function)
            token = await function() if asynchronous else await asyncio.to_thread(function)
        except Exception as error:
            # Its text is left out: whose library it is, and what stands in it, is not known here.
            raise TokenError(f"sasl_token_callback: {self._path} failed: {type(error).__name__}") from error
        if not isinstance(token, str) or not token:
            raise TokenError(f"sasl_token_callback: {self._path} returned no text but {type(token).__name__}")
        return token

    def _function(self) -> Callable[[], Any]:
        module, _, name = self._path.partition(":")
        try:
            found: Callable[[], Any] = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise TokenError(f"sasl_token_callback: {self._path} cannot be imported: {error}") from error
        return found
