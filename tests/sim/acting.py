"""Makes the steps of a schedule happen in a world."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, TopicAuthorizationFailedError

from countersign.runtime.messages.record import headers_to_text
from tests.sim.broker.log import EPOCH_MS
from tests.sim.tables.rows import LockedError
from tests.sim.world.events import IN, OUT, TOPICS, Asked, value_of
from tests.sim.world.noting import noted_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sim.schedules import Schedule, Step
    from tests.sim.tables.rows import Table, Values
    from tests.sim.world.world import World

FAR_MS = 2**62
FIFTY_DAYS_MS = 50 * 86_400_000


class Stage:
    """One world in which a schedule happens, and what is expected of each record."""

    def __init__(self, world: World, schedule: Schedule) -> None:
        self.world = world
        self.schedule = schedule
        self.asked: dict[str, dict[int, Asked]] = {topic: {} for topic in TOPICS}
        self.asked_at: dict[tuple[str, int], float] = {}
        self.ill: set[str] = set()  # topics with records that are not simply folded
        self.unread: set[tuple[str, int, int]] = set()
        self.refused_accounts: set[bytes] = set()
        self.released: Counter[tuple[str, int]] = Counter()
        self.down: dict[str, int] = {}
        self.disturbed_until = 0.0
        self.locked_until = dict.fromkeys(TOPICS, 0.0)
        self.leaderless_until: dict[TopicPartition, float] = {}
        self.is_healed = False

    def plan(self) -> None:
        """Put every step at its time."""
        for step in self.schedule.steps:
            self.world.outside.call_later(step.at, self.take, step)

    def take(self, step: Step) -> None:
        """Make one step happen."""
        self.world.note("schedule", step, {})  # its text is for the trace, which few ask for
        getattr(self, f"_{step.name}")(step, *step.args)

    def _later(self, step: Step, call: Callable[[], None]) -> None:
        self.world.outside.call_later(step.seconds, call)

    def _disturb(self, seconds: float) -> None:
        """Say that for so long nothing can be said of how soon things happen."""
        self.disturbed_until = max(self.disturbed_until, self.world.scheduler.now + seconds)

    # Records

    def _record(self, _step: Step, topic: str, place: int, number: int, account: str, trouble: str | None) -> None:
        event = self.asked[topic][number] = Asked(number, account, trouble)
        self.asked_at[topic, number] = self.world.scheduler.now
        if trouble is not None:
            self.ill.add(topic)
        self.world.broker.append(TopicPartition(topic, place), account.encode(), value_of(event))

    def _odd(self, topic: str, place: int, **how: Any) -> None:
        held = self.world.broker.append(TopicPartition(topic, place), b"odd", b"{nope", **how)
        self.unread.add((topic, place, held.offset))
        self.ill.add(topic)

    def _unreadable(self, _step: Step, topic: str, place: int, gap: int) -> None:
        self._odd(topic, place, gap=gap, is_unreadable=True)

    def _nonsense(self, _step: Step, topic: str, place: int, gap: int) -> None:
        self._odd(topic, place, gap=gap)

    def _far(self, _step: Step, topic: str, place: int, gap: int) -> None:
        self._odd(topic, place, gap=gap, timestamp=FAR_MS)

    def _old_letter(self, _step: Step, number: int) -> None:
        """Leave a letter of long ago that somebody redrives."""
        world = self.world
        held = world.broker.append(TopicPartition(IN, 0), b"old", b"{nope", timestamp=EPOCH_MS - FIFTY_DAYS_MS)
        world.broker.log(TopicPartition(IN, 0)).forget()
        by = world.server.transaction()
        at = world.server.now() - timedelta(days=50)
        self.asked[IN][number] = Asked(number, "old", "old")
        world.server.table("dead_letter").insert(by, (IN, 0, held.offset, at), self._letter(number, held.offset, at))
        by.commit()

    def _letter(self, number: int, offset: int, at: Any) -> Values:
        now = self.world.server.now()
        return {
            "topic": IN,
            "partition": 0,
            "offset": offset,
            "record_key": b"old",
            "value": value_of(Asked(number, "old")),
            "headers": headers_to_text(()),
            "appended_at": at,
            "kind": "bug",
            "cause": "a bug of ours",
            "whole": True,
            "source": "",
            "state": "redrive",
            "kept_at": at,
            "changed_at": at,
            "next_try_at": now,
        }

    # Faults

    def _while(self, step: Step, owner: Any, name: str, value: Any, after: Any) -> None:
        """Set a fault for its time; of two at once, the last one to end ends both."""
        setattr(owner, name, value)
        if owner is self.world.broker:
            self.world.broker_well_since = None
        self.down[name] = self.down.get(name, 0) + 1
        self._disturb(step.seconds + 20.0)

        def over() -> None:
            self.down[name] -= 1
            if not self.down[name]:
                setattr(owner, name, after)
                if owner is self.world.broker:
                    self.world.broker_changed()

        self._later(step, over)

    def _broker_down(self, step: Step, _place: int) -> None:
        self._while(step, self.world.broker, "is_down", True, False)

    def _broker_frozen(self, step: Step, _place: int) -> None:
        self._while(step, self.world.broker, "is_frozen", True, False)

    def _acks_lost(self, step: Step, _place: int) -> None:
        self._while(step, self.world.broker, "loses_acks", True, False)

    def _leaderless(self, step: Step, place: int) -> None:
        broker = self.world.broker
        places = {TopicPartition(OUT, place)}
        broker.leaderless |= places
        for one in places:
            until = self.world.scheduler.now + step.seconds + 20.0
            self.leaderless_until[one] = max(until, self.leaderless_until.get(one, 0.0))

        def over() -> None:
            broker.leaderless -= places
            broker.changed()

        self._later(step, over)

    def _rights_missing(self, step: Step, _place: int) -> None:
        self._disturb(step.seconds + 20.0)
        refused = self.world.broker.refused
        refused[OUT] = TopicAuthorizationFailedError
        self._later(step, lambda: refused.pop(OUT, None))

    def _refused_account(self, _step: Step, number: int) -> None:
        self.refused_accounts.add(f"a{number}".encode())
        self.world.broker.refuses = self._refusal_of

    def _refusal_of(self, key: bytes | None) -> type[Exception] | None:
        return MessageSizeTooLargeError if key in self.refused_accounts else None

    def _producers_break(self, _step: Step, count: int) -> None:
        self._disturb(20.0)
        self.world.broker.breaks_producers = count
        self.world.broker_well_since = None

    def _consumers_break(self, _step: Step, count: int) -> None:
        self._disturb(20.0)
        self.world.broker.breaks_consumers = count

    def _postgres_down(self, step: Step) -> None:
        self.world.server.stop()
        self._while(step, self.world.server, "is_down", True, False)

    def _postgres_hung(self, step: Step) -> None:
        server = self.world.server
        server.hang()
        self._disturb(step.seconds + 40.0)
        self._later(step, server.thaw)

    def _postgres_slow(self, step: Step) -> None:
        self._while(step, self.world.server, "slowness", 300.0, self.schedule.slow_servers)

    def _locked(self, step: Step, topic: str, number: int) -> None:
        """Let somebody else hold the row that an event's fold inserts, and take it back in the end."""
        by = self.world.server.transaction()
        name, key = ("kept", number) if topic == IN else ("noted", noted_id(number))
        with suppress(LockedError):
            self.world.server.table(name).insert(by, key, {"id": key})
        self.locked_until[topic] = max(self.locked_until[topic], self.world.scheduler.now + step.seconds + 20.0)
        self._later(step, by.rollback)

    def _commits_cut(self, _step: Step, count: int) -> None:
        self._disturb(20.0)
        self.world.server.cuts_commits = count

    def _sessions_cut(self, _step: Step, _count: int) -> None:
        self._disturb(20.0)
        rng = self.world.rng
        self.world.server.end_sessions(lambda _session: rng.random() < 0.5)

    def _kill(self, _step: Step, number: int) -> None:
        self._disturb(30.0)
        process = self.world.processes[number]
        process.kill()
        self.world.outside.call_later(1.0, process.start)

    def _kill_at(self, _step: Step, number: int, checkpoint: str, times: int) -> None:
        self._disturb(60.0)
        self.world.kill_at = (self.world.processes[number].instance, checkpoint, times)

    def _sigterm(self, step: Step, number: int) -> None:
        self._disturb(step.seconds + 30.0)
        process = self.world.processes[number]
        process.terminate()
        self._later(step, partial(self.wanted_again, number))

    def wanted_again(self, number: int) -> None:
        """Start a process again that was ended: at once, or as soon as it has ended."""
        process = self.world.processes[number]
        process.is_wanted = True
        process.start()

    # People on call, and programs that submit requests

    def _release(self, _step: Step) -> None:
        self.release()

    def _redrive(self, _step: Step) -> None:
        self.redrive()

    def _submit(self, _step: Step) -> None:
        self.world.submitters.submit()

    def release(self) -> None:
        """Release every brake."""
        now = self.world.server.now()
        brakes = self.world.server.table("brake")
        rows = self._update(brakes, lambda row: row["released_at"] is None, {"released_at": now})
        self.released.update((row["topic"], row["partition"]) for row in rows)

    def redrive(self) -> None:
        """Redrive every letter that a bug of ours caused, or a key that was missing."""
        now = self.world.server.now()
        self._update(
            self.world.server.table("dead_letter"),
            lambda row: row["state"] == "new" and row["kind"] in ("bug", "key_unknown") and row["whole"],
            {"state": "redrive", "next_try_at": now},
        )

    def _update(self, table: Table, which: Callable[[Values], bool], change: Values) -> list[Values]:
        """Change the rows that nobody holds locked; return them."""
        changed, by = [], self.world.server.transaction()
        for row, value in table.all(by):
            if which(value):
                with suppress(LockedError):
                    changed.append(table.change(by, row, **change))
        by.commit()
        return changed

    def heal(self) -> None:
        """End every fault, mend every bug."""
        world = self.world
        world.note("schedule", "healed", {})
        self.is_healed = True
        world.broker.heal()
        world.broker_changed()
        world.server.heal()
        self.down.clear()
        world.broker.slowness = world.server.slowness = min(self.schedule.slow_servers, 20.0)
        world.mended.update({"bug", "save", "key", "parse", "keys"})
        world.kill_at = None
        for number in range(len(world.processes)):
            self.wanted_again(number)
