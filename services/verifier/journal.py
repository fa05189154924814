"""What the process tells of its decisions: a count and a log line each. No code, no grant, no number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter

from countersign.contract import challenge_id_of
from services.verifier.model import Allow, Denied, Deny, Open

if TYPE_CHECKING:
    from collections.abc import Iterable

    import structlog
    from prometheus_client import CollectorRegistry

    from services.verifier.model import Asked, Decision, Delivered, Judged, Taken


class Journal:
    """Written after the commit, so that it never tells what was rolled back."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger, registry: CollectorRegistry) -> None:
        self._log = log
        self._decisions = Counter(
            "countersign_decisions_total",
            "Decisions by action, and granted or the reason of the denial. If one reason grows, "
            "`countersign trace` of one such request shows why.",
            ("action", "outcome"),
            registry=registry,
        )
        self._texts = Counter(
            "countersign_texts_issued_total",
            "Texts with a code that the verifier asked for. If it is far above other days, somebody may be pumping "
            "texts: `countersign texts pause` stops them.",
            ("action",),
            registry=registry,
        )
        self._answers = Counter(
            "countersign_answers_total",
            "Codes that were entered, by verdict. If `mismatched` grows, somebody guesses; if all are few, texts do "
            "not arrive.",
            ("verdict",),
            registry=registry,
        )

    def taken(self, one: Taken) -> None:
        """Tell what an assessment came to."""
        event = one.event
        match one.ending:
            case Allow():
                ending = "granted"
                self._decisions.labels(event.action, ending).inc()
            case Deny(reason):
                ending = reason
                self._decisions.labels(event.action, ending).inc()
            case Open():
                ending = "challenged"
                self._texts.labels(event.action).inc()
        self._log.info(
            "assessment_taken",
            request_id=str(event.request_id),
            challenge_id=str(challenge_id_of(event.request_id)) if isinstance(one.ending, Open) else None,
            account_id=str(event.account_id),
            user_id=str(event.user_id),
            action=event.action,
            outcome=ending,
            reasons=one.reasons,
        )

    def ended(self, decisions: Iterable[Decision]) -> None:
        """Tell the ends of challenges."""
        for decision in decisions:
            asked = decision.asked
            outcome = decision.reason if isinstance(decision, Denied) else "granted"
            self._decisions.labels(asked.action, outcome).inc()
            self._log.info(
                "challenge_ended",
                **_story(asked),
                action=asked.action,
                outcome=outcome,
            )

    def delivered(self, one: Delivered) -> None:
        """Tell what became of a text."""
        self._log.info(
            "text_delivered",
            **_story(one.asked),
            send=one.send.send,
            state=one.send.state,
            reason=one.send.reason,
        )

    def judged(self, asked: Asked, judged: Judged) -> None:
        """Tell a verdict: to those who run this, the ways to be over need not look alike."""
        self._answers.labels(judged.verdict.value).inc()
        self._log.info(
            "answer_judged",
            **_story(asked),
            verdict=judged.verdict.value,
            tries_left=judged.tries_left,
        )

    def sent(self, asked: Asked, send: int) -> None:
        """Tell that a further text was issued."""
        self._texts.labels(asked.action).inc()
        self._log.info("text_issued", **_story(asked), action=asked.action, send=send)


def _story(asked: Asked) -> dict[str, str]:
    """Return what each log line about a challenge names, so that one search finds all of them."""
    return {
        "request_id": str(asked.request_id),
        "challenge_id": str(asked.challenge_id),
        "account_id": str(asked.account_id),
        "user_id": str(asked.user_id),
    }
