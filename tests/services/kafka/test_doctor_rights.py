"""What doctor and a service's check say of rights, as principals of a guarded broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from countersign.operations.doctor.brokers import let_in, rights_findings
from countersign.operations.doctor.of_service import kafka_check
from countersign.operations.kafka_users import set_passwords
from countersign.operations.rights import Operation, Resource, Right, add_rights, wanted_rights
from countersign.runtime.broker.kafka_refusal import refusal_of
from deploy.local.principals import local_rights
from deploy.local.topics import make_topics
from tests.support.guarded_kafka import BOBS_PASSWORD
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from countersign.runtime.broker.kafka import KafkaConnection
    from tests.support.guarded_kafka import GuardedKafka

pytestmark = pytest.mark.servers
NAMES = ("operator", "verifier")


def as_principal(broker: GuardedKafka, principal: str) -> KafkaConnection:
    return broker.guard.connection(principal, f"the password of {principal}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def laid(broker: GuardedKafka) -> GuardedKafka:
    """Lay topics, two users, and the local stack's rights."""
    administrator = broker.guard.administrator()
    await make_topics(administrator)
    await set_passwords(administrator, {name: f"the password of {name}" for name in NAMES})
    await add_rights(administrator, local_rights())

    async def let_in_all() -> bool:
        return not any([await refusal_of(as_principal(broker, name)) for name in NAMES])

    await eventually(let_in_all)
    return broker


async def test_rights_that_nobody_declared_are_a_warning(laid: GuardedKafka) -> None:
    """As the operator, who may look: those of the local stack's `test` are beyond; none is missing."""
    (found,) = await rights_findings(as_principal(laid, "operator"))
    assert found.level == "warning"
    assert f"{len(local_rights() - wanted_rights())} beyond what schemas/topics says: test may" in found.sentence


async def test_a_missing_right_is_an_error(laid: GuardedKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a service needs and the cluster does not have."""
    needed = Right("exports", Operation.READ, Resource.TOPIC, "sms.deliveries.v1")
    monkeypatch.setattr("countersign.operations.doctor.brokers.wanted_rights", lambda: {*local_rights(), needed})
    (found,) = await rights_findings(as_principal(laid, "operator"))
    assert (found.level, found.sentence) == ("error", "1 missing: exports may read the topic sms.deliveries.v1")


async def test_who_may_not_look_at_rights_is_told_so(laid: GuardedKafka) -> None:
    """It is no fault of the cluster."""
    (found,) = await rights_findings(as_principal(laid, "verifier"))
    assert (found.level, found.sentence) == ("warning", "verifier may not look at them")


async def test_a_services_check_sees_its_topics_or_says_which_not(laid: GuardedKafka) -> None:
    """As its own principal it sees all; as somebody without rights none of them."""
    well = await kafka_check("verifier", as_principal(laid, "verifier")).look()
    assert [finding.level for finding in well] == ["ok", "ok"]
    assert "lets us in as verifier" in well[0].sentence
    none = await kafka_check("verifier", laid.bob()).look()
    assert {finding.subject for finding in none if finding.level == "error"} == {
        "topic access.assessments.v1",
        "topic access.challenges.v1",
        "topic access.decisions.v1",
        "topic sms.deliveries.v1",
    }


async def test_a_wrong_password_is_told_with_its_setting(laid: GuardedKafka) -> None:
    """And without the password."""
    found = await let_in(laid.guard.connection("bob", "wrong-password"))
    assert found.level == "error"
    assert "does not accept bob with this password" in found.sentence
    assert "wrong-password" not in str(found)
    assert BOBS_PASSWORD not in str(found)
