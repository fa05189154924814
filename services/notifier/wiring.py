"""The notifier put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from countersign import policy
from countersign.operations.doctor.of_service import kafka_check
from countersign.runtime.database.budget import Budget
from countersign.runtime.due_work.sweep import Sweep
from countersign.runtime.keys import KeyRing
from countersign.runtime.program.frame import Frame, Parts, Service
from countersign.runtime.program.limits import retention_limits
from countersign.runtime.settings import Limit
from countersign.runtime.waker import Waker
from services.notifier import retention, sns, words
from services.notifier.counters import Counters
from services.notifier.decide import LIFE_LEFT_MIN, PAUSE_SECONDS_MAX
from services.notifier.fold import Challenges
from services.notifier.gsm7 import PART_SEPTETS_MAX
from services.notifier.notices import words as notice_words
from services.notifier.notices.decide import LIFE, SHARE, rate_of
from services.notifier.notices.due import Notices
from services.notifier.notices.due import Wording as NoticeWording
from services.notifier.notices.fold import DecisionNotices, SettingNotices
from services.notifier.pauses import PauseCheck
from services.notifier.provider import PROBE_EVERY_SECONDS, Provider
from services.notifier.sending import Doubts, Rings, Texts, Wording
from services.notifier.settings import PUBLISH_SECONDS_MAX, NotifierSettings
from services.notifier.sns_check import sns_check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from countersign.runtime.program.frame import Check


@asynccontextmanager
async def wire(frame: Frame[NotifierSettings]) -> AsyncIterator[Parts]:
    """Put the parts together, with the AWS client open for as long as they run."""
    settings = frame.settings
    limits = policy.load(settings.policy_file).texts
    rings = Rings(KeyRing("code_keys", settings.code_keys), KeyRing("number_keys", settings.number_keys))
    frame.metrics.keys.show(rings.codes, rings.numbers)
    counters = Counters(frame.metrics.registry)
    waker = Waker()
    languages = words.load()
    if settings.text.default_locale not in languages:
        raise ValueError(f"text.default_locale: there are words for {', '.join(sorted(languages))}")
    # Notices have connections of their own, so that they never take one from a code.
    notices_parallel = max(1, settings.sns.parallel_max // SHARE)
    async with sns.sns_sender(settings.sns, settings.sns.parallel_max + notices_parallel) as sender:
        provider = Provider(frame.health, counters.stopped, frame.log)
        pause_check = PauseCheck(frame.pool, frame.log)
        texts = Texts(
            waker,
            sender,
            provider,
            pause_check,
            rings=rings,
            wording=Wording(settings.text, languages),
            limits=limits,
            counters=counters,
            parallel=settings.sns.parallel_max,
            claim_good_for=settings.claim.good_for,
            tracer=frame.tracer,
            log=frame.log,
        )
        notices = Notices(
            sender,
            provider,
            pause_check,
            numbers=rings.numbers,
            wording=NoticeWording(settings.text.brand, settings.text.default_locale, notice_words.load()),
            limits=limits,
            counters=counters,
            rate=rate_of(settings.sns.per_second),
            parallel=notices_parallel,
            claim_good_for=settings.claim.good_for,
            settled_within=settings.claim.settled_within,
            log=frame.log,
        )
        yield Parts(
            folds=[Challenges(rings.codes, waker), SettingNotices(), DecisionNotices()],
            dues=[texts, notices],
            small_dues=[Doubts(counters, settings.claim.settled_within, frame.log), Sweep(retention.RULES)],
        )


def limits_of(settings: NotifierSettings) -> Sequence[Limit]:
    """Return every limit of the running configuration."""
    own = [
        Limit("text.life_left_min", f"{LIFE_LEFT_MIN.total_seconds():.0f} s", "chosen: a later code would arrive dead"),
        Limit("text.septets_max", str(PART_SEPTETS_MAX), "3GPP TS 23.038 and 23.040, 9.2.3.24.1: one part"),
        Limit(
            "claim.good_for",
            f"{settings.claim.good_for.total_seconds():g} s",
            "chosen: with sns.publish_max it ends well before the doubt",
        ),
        Limit(
            "claim.settled_within",
            f"{settings.claim.settled_within.total_seconds():g} s",
            "chosen: an unsettled claim is unknown from then on, for ever",
        ),
        Limit(
            "notices.per_second",
            str(rate_of(settings.sns.per_second)),
            f"chosen: one in {SHARE} of sns.per_second, by all processes together; none while codes wait",
        ),
        Limit("notices.life", f"{LIFE.total_seconds():.0f} s", "chosen: what is older is no news any more"),
        Limit("sns.per_second", str(settings.sns.per_second), "AWS, Amazon SNS quotas: texts a second of an account"),
        Limit(
            "sns.parallel_max",
            str(settings.sns.parallel_max),
            "chosen: in flight at once, a process; SNS takes 20/s by default, at about 0.1 s each",
        ),
        Limit("sns.attempts_max", "1", "SNS has no idempotency token: a retry is a second text"),
        Limit(
            "sns.connect_max", f"{sns.CONNECT_SECONDS_MAX:.0f} s", "chosen: nobody waits for a host that is not there"
        ),
        Limit("sns.read_max", f"{sns.READ_SECONDS_MAX:.0f} s", "chosen: from then on the text is in doubt"),
        Limit("sns.publish_max", f"{PUBLISH_SECONDS_MAX:.0f} s", "chosen: claim and send end before the doubt begins"),
        Limit("sns.price_usd_max", str(settings.sns.price_usd_max or "none"), "SNS developer guide, MaxPrice"),
        Limit("provider.probe_every", f"{PROBE_EVERY_SECONDS:.0f} s", "chosen: one text tries a stopped provider"),
        Limit("provider.pause_max", f"{PAUSE_SECONDS_MAX:.0f} s", "chosen: between tries of a text that did not leave"),
        *retention_limits(retention.RULES),
    ]
    texts = policy.load(settings.policy_file).limits()
    return own + [Limit(*limit) for limit in texts if limit[0].startswith("policy.texts.")]


def checks(settings: NotifierSettings) -> Sequence[Check]:
    """Return what it needs beside PostgreSQL."""
    return [kafka_check("notifier", settings.kafka), sns_check(settings.sns)]


SERVICE = Service(
    name="notifier",
    settings=NotifierSettings,
    wire=wire,
    limits=limits_of,
    checks=checks,
    budget=Budget(pool=2, loops=2, lanes=2),
)
