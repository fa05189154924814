"""How a local Kafka is guarded: its listeners, who may log in there, and that rights are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from countersign.runtime.broker.kafka import KafkaConnection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.broker.kafka import SecurityProtocol
    from deploy.local.certificates import Certificates

ADMIN = "admin"  # the broker itself, and whoever lays users and rights; nobody else has all rights
SCRAM = "SCRAM-SHA-512"
_LOGIN = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule required",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule required",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule required",
    "OAUTHBEARER": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required",
}

_COMMON = """\
controller.listener.names=CONTROLLER
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config={plain};
sasl.mechanism.controller.protocol=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
ssl.principal.mapping.rules=RULE:^CN=([^,]+).*$/$1/,DEFAULT
"""
_TLS = """\
ssl.keystore.type=PEM
ssl.keystore.location={broker}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
"""


@dataclass(frozen=True)
class Listener:
    """A port of the broker. Of PLAIN only the administrator has a password; SCRAM users are laid afterwards."""

    name: str
    protocol: SecurityProtocol
    port: int
    mechanisms: Sequence[str] = (SCRAM, "PLAIN")
    client_certificates: bool = False


@dataclass(frozen=True)
class Guard:
    """What a guarded broker is told. The first listener must be one with a log-in: the broker uses it itself."""

    admin_password: str
    listeners: Sequence[Listener]
    certificates: Certificates | None = None
    superusers: Sequence[str] = (ADMIN,)

    def properties(self, controller_port: int) -> str:
        """Return the lines of server.properties."""
        plain = (
            f'{_LOGIN["PLAIN"]} username="{ADMIN}" password="{self.admin_password}" '
            f'user_{ADMIN}="{self.admin_password}"'
        )
        addresses = ",".join(f"{one.name}://127.0.0.1:{one.port}" for one in self.listeners)
        protocols = ",".join(f"{one.name}:{one.protocol}" for one in self.listeners)
        lines = [
            f"listeners={addresses},CONTROLLER://127.0.0.1:{controller_port}",
            f"advertised.listeners={addresses}",
            f"listener.security.protocol.map={protocols},CONTROLLER:SASL_PLAINTEXT",
            f"inter.broker.listener.name={self.listeners[0].name}",
            f"super.users={';'.join(f'User:{name}' for name in self.superusers)}",
        ]
        for one in self.listeners:
            lines += _of_listener(one, plain)
        text = _COMMON.format(plain=plain) + "\n".join(lines) + "\n"
        if self.certificates is not None:
            text += _TLS.format(broker=self.certificates.broker, ca=self.certificates.ca)
        return text

    def administrator(self) -> KafkaConnection:
        """Return how the administrator connects."""
        first = self.listeners[0]
        return self.connection(ADMIN, self.admin_password, first, mechanism="PLAIN")

    def connection(
        self, username: str, password: str, listener: Listener | None = None, *, mechanism: str = SCRAM
    ) -> KafkaConnection:
        """Return how somebody connects who has a name and a password: to the first listener, if no other is named."""
        return KafkaConnection.named(self.names(username, password, listener, mechanism=mechanism))

    def names(
        self, username: str, password: str, listener: Listener | None = None, *, mechanism: str = SCRAM
    ) -> dict[str, str]:
        """Return the same by the names that programs are told it."""
        to = listener or self.listeners[0]
        names = {
            "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{to.port}",
            "KAFKA_SECURITY_PROTOCOL": to.protocol,
            "KAFKA_SASL_MECHANISM": mechanism,
            "KAFKA_SASL_USERNAME": username,
            "KAFKA_SASL_PASSWORD": password,
        }
        if to.protocol.endswith("SSL") and self.certificates is not None:
            names["KAFKA_CA"] = str(self.certificates.ca)
        return names


def _of_listener(listener: Listener, plain: str) -> list[str]:
    prefix = f"listener.name.{listener.name.lower()}."
    lines = []
    if listener.protocol.startswith("SASL_"):
        lines.append(f"{prefix}sasl.enabled.mechanisms={','.join(listener.mechanisms)}")
        for mechanism in listener.mechanisms:
            login = plain if mechanism == "PLAIN" else _LOGIN[mechanism]
            if mechanism == "OAUTHBEARER":
                login += f' unsecuredLoginStringClaim_sub="{ADMIN}"'  # Kafka asks for it also where only others log in
            lines.append(f"{prefix}{mechanism.lower()}.sasl.jaas.config={login};")
    if listener.client_certificates:
        lines.append(f"{prefix}ssl.client.auth=required")
    return lines
