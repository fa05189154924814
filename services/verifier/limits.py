"""The verifier's limits with their sources, for `make limits`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from countersign import policy
from countersign.runtime.program.limits import retention_limits
from countersign.runtime.settings import Limit
from services.verifier import counters, crowd, decide_assessment, judge, retention, waiters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from countersign.runtime.settings import Part
    from services.verifier.settings import VerifierSettings

_NIST_COUNT = "NIST SP 800-63B-4, 3.2.2"


def limits(settings: VerifierSettings) -> Sequence[Limit]:
    """Return every limit of this configuration."""
    waits = " ".join(_shown(wait) for wait in judge.SEND_WAITS)
    return (
        *_of("code", settings.code),
        *_of("grant", settings.grant),
        *(
            Limit(*limit)
            for limit in policy.load(settings.policy_file).limits()
            if limit[0].startswith("policy.requests.")
        ),
        Limit("code.sends_max", str(judge.SENDS_MAX), "chosen: a text is money and a nuisance (ASVS 5.0, 6.6.3)"),
        Limit("code.send_waits", waits, "chosen: growing (ASVS 5.0, 6.6.3: rate limits)"),
        Limit("code.send_life_left_min", _shown(judge.LIFE_LEFT_MIN), "chosen: a later text cannot be typed in time"),
        Limit(
            "code.good_sends", str(judge.GOOD_SENDS), "chosen: texts overtake each other; 2 x 5 tries is 1 in 100,000"
        ),
        Limit("failures.free", str(counters.FAILURES_FREE), "chosen: two challenges of honest mistyping"),
        Limit("failures.wait_first", _shown(counters.WAIT_FIRST), _NIST_COUNT),
        Limit("failures.wait_longest", _shown(counters.WAIT_LONGEST), _NIST_COUNT),
        Limit("failures.max", str(counters.FAILURES_MAX), f"{_NIST_COUNT}: at most 100 consecutive failures"),
        Limit(
            "challenges.open_max",
            str(decide_assessment.OPEN_MAX),
            "chosen: a user and place; a fourth cancels the oldest",
        ),
        Limit(
            "answers.waiting_max", str(crowd.WAITING_MAX), "chosen: a challenge and process; no flood takes the pool"
        ),
        Limit("requests.waiting_max", str(waiters.WAITING_MAX), "chosen: long polls a process"),
        Limit(
            "requests.caller_waiting_max",
            str(waiters.CALLER_WAITING_MAX),
            "chosen: half of them for one caller at most, so that the others are answered",
        ),
        *retention_limits(retention.RULES),
    )


def _of(prefix: str, part: Part) -> Iterator[Limit]:
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, timedelta | int):
            yield Limit(f"{prefix}.{name}", _shown(value), field.description or "")


def _shown(value: timedelta | int) -> str:
    return f"{value.total_seconds():.0f} s" if isinstance(value, timedelta) else str(value)
