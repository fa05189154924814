"""What `python -m services.<name> check` asks of Kafka and of the verifier, for the services' wirings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.client import Grants, KeysAwayError
from countersign.contract.topic_files import topic_files
from countersign.operations.connecting import connected
from countersign.operations.doctor.brokers import KAFKA_FAILURES, away, leaderless
from countersign.runtime.checkup import Finding, fine, wrong
from countersign.runtime.program.frame import Check

if TYPE_CHECKING:
    from countersign.runtime.broker.kafka import KafkaConnection


def kafka_check(service: str, kafka: KafkaConnection) -> Check:
    """Return a check that logs in as the service does and looks whether its topics are there and led."""

    async def look() -> list[Finding]:
        mine = [file for file in topic_files() if service in {*file.writers, *file.readers, *file.checked_by}]
        try:
            async with connected(kafka) as cluster:
                described = await cluster.admin.describe_topics(None)
        except KAFKA_FAILURES:
            return [await away(kafka)]
        seen = {topic["topic"] for topic in described}
        as_whom = f" as {kafka.sasl_username}" if kafka.sasl_username else ""
        found = [fine("Kafka", f"{kafka.bootstrap_servers} lets us in{as_whom}")]
        told = f"there is none, or {service} may not see it: it will wait"
        todo = "see `countersign topics plan` and `countersign doctor`, which compares rights"
        found += [wrong(f"topic {file.topic}", told, todo) for file in mine if file.topic not in seen]
        found += leaderless(mine, described)
        return (
            found if len(found) > 1 else [*found, fine("topics", f"all {len(mine)} that it writes or reads are there")]
        )

    return Check("Kafka", look)


def jwks_check(url: str) -> Check:
    """Return a check that fetches the keys of grants from the verifier."""

    async def look() -> list[Finding]:
        async with Grants(url) as grants:
            try:
                keys = await grants.fetch()
            except KeysAwayError as error:
                return [
                    wrong("JWKS", str(error), "see whether the verifier runs, and compare jwks_url with its address")
                ]
        if not keys:
            return [wrong("JWKS", f"{url} has no Ed25519 key", "look at grant_keys of the verifier")]
        return [fine("JWKS", f"{url} has {len(keys)} keys")]

    return Check("JWKS", look)
