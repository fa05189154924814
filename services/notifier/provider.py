"""Whether the provider takes our texts at all. While it does not, texts stay due and somebody is paged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.notifier.model import Answer

if TYPE_CHECKING:
    import structlog
    from prometheus_client import Gauge

    from countersign.runtime.watching.health import Health
    from services.notifier.model import Receipt

PROBE_EVERY_SECONDS = 10.0  # a mended account is used again within that time
UNANSWERED_MAX = 3  # in a row: one lost answer is no outage
# Texts that wait for SNS try it at least every 8 s; when none has tried for so long, nothing is known any more.
UNANSWERED_SECONDS_MAX = 30.0
# What tells that nobody is there, whatever it means for the text.
_UNANSWERED = frozenset({"provider.unreachable", "provider.timeout", "provider.reset", "provider.error"})
_WORDS = {
    "provider.authorization": "SNS refuses our credentials or rights",
    "provider.clock": "SNS refuses our clock",
    "provider.spend_limit": "the monthly SMS spending quota is used up",
}
_NO_TEXTS = "SNS takes no texts"


def words_of_stop(receipt: Receipt) -> str:
    """Return in words why SNS takes no texts of ours."""
    return _WORDS.get(receipt.reason or "", _NO_TEXTS)


class Provider:
    """Stopped by an answer that is ours to mend; then one text at a time tries whether it was.

    An SNS that does not answer stops nothing, as each text waits for itself; but the process says that it is not ready.
    """

    def __init__(self, health: Health, stopped: Gauge, log: structlog.typing.FilteringBoundLogger) -> None:
        self._health = health
        self._gauge = stopped
        self._log = log
        self._reason: str | None = None
        self._probe_at = 0.0
        self._unanswered = 0
        self._unanswered_at = 0.0

    def room(self, free: int, seconds: float) -> int:
        """Return how many of `free` texts may be claimed at this monotonic time. Say with `claimed` how many were."""
        if self._unanswered and seconds - self._unanswered_at > UNANSWERED_SECONDS_MAX:
            self._answered()
        if self._reason is None:
            return free
        return min(free, 1) if seconds >= self._probe_at else 0

    def claimed(self, texts: int, seconds: float) -> None:
        """Note how many texts were claimed. If the provider is stopped, the next try is 10 s later.

        So it is also if the answer is not there yet, or in doubt. Nothing may be awaited between `room` and this.
        """
        if texts and self._reason is not None:
            self._probe_at = seconds + PROBE_EVERY_SECONDS

    def heard(self, receipt: Receipt, seconds: float) -> None:
        """Learn from an answer, or from there being none."""
        if receipt.reason in _UNANSWERED:
            self._missed(seconds)
        elif receipt.answer is not Answer.NOT_SENT or receipt.reason == "provider.throttled":
            self._answered()
        match receipt.answer:
            case Answer.STOPPED:
                self._stop(receipt.reason or "provider.authorization", seconds)
            case Answer.ACCEPTED | Answer.REFUSED:
                self._go()
            case Answer.NOT_SENT | Answer.IN_DOUBT:
                pass

    def _stop(self, reason: str, seconds: float) -> None:
        words = _WORDS.get(reason, _NO_TEXTS)
        if self._reason is None:
            self._log.error("provider_stopped", reason=reason, words=words)
        self._reason = reason
        self._probe_at = seconds + PROBE_EVERY_SECONDS
        self._gauge.set(1)
        self._health.tell("sns", f"{words}: texts wait")

    def _go(self) -> None:
        if self._reason is not None:
            self._log.info("provider_goes_on", reason=self._reason)
        self._reason = None
        self._gauge.set(0)
        self._health.tell("sns", None)

    def _missed(self, seconds: float) -> None:
        self._unanswered += 1
        self._unanswered_at = seconds
        if self._unanswered == UNANSWERED_MAX:
            self._log.error("provider_away")
        if self._unanswered >= UNANSWERED_MAX:
            self._health.tell("sns.answers", "SNS does not answer: texts wait, or are in doubt")

    def _answered(self) -> None:
        if self._unanswered >= UNANSWERED_MAX:
            self._log.info("provider_answers")
        self._unanswered = 0
        self._health.tell("sns.answers", None)
