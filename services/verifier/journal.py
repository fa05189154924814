"""What the process tells of its decisions: a count and a log line each. No code, no grant, no number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter

from services.verifier.model import Allow, Denied, Deny, Open

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    import structlog
    from prometheus_client import CollectorRegistry

    from services.verifier.model import Decision, Delivered, Judged, Taken


class Journal:
    """Written after the commit, so that it never tells what was rolled back."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger, registry: CollectorRegistry) -> None:
        self._log = log
        self._decisions = Counter(
            "countersign_decisions_total",
            "Decisions by action, and granted or the reason of the denial.",
            ("action", "outcome"),
            registry=registry,
        )
        self._texts = Counter("countersign_texts_issued_total", "Texts with a code.", ("action",), registry=registry)
        self._answers = Counter("countersign_answers_total", "Answers by verdict.", ("verdict",), registry=registry)

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
            account_id=str(event.account_id),
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
                request_id=str(asked.request_id),
                challenge_id=str(asked.challenge_id),
                account_id=str(asked.account_id),
                action=asked.action,
                outcome=outcome,
            )

    def delivered(self, one: Delivered) -> None:
        """Tell what became of a text."""
        self._log.info(
            "text_delivered",
            challenge_id=str(one.challenge_id),
            send=one.send.send,
            state=one.send.state,
            reason=one.send.reason,
        )

    def judged(self, challenge_id: UUID, judged: Judged) -> None:
        """Tell a verdict: to those who run this, the ways to be over need not look alike."""
        self._answers.labels(judged.verdict.value).inc()
        self._log.info(
            "answer_judged",
            challenge_id=str(challenge_id),
            verdict=judged.verdict.value,
            tries_left=judged.tries_left,
        )

    def sent(self, challenge_id: UUID, action: str, send: int) -> None:
        """Tell that a further text was issued."""
        self._texts.labels(action).inc()
        self._log.info("text_issued", challenge_id=str(challenge_id), action=action, send=send)
