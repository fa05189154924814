"""What must hold in every world: while things happen, once everything is at rest, and after the processes ended."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from tests.sim.invariants.lanes import check_released, topics_read
from tests.sim.schedules import FAULTS
from tests.sim.world.events import IN, OUT, OWED_BY_TOPIC, TOPICS, owed_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from aiokafka import TopicPartition

    from tests.sim.acting import Stage
    from tests.sim.broker.log import Held
    from tests.sim.tables.server import Server
    from tests.sim.world.process import Process

PROMPT_SECONDS_MAX = 8.0
SWEEPS_MAX = 2  # once before the outage is noticed, once after


class Watching:
    """Looks at a world while things happen in it."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.world = stage.world
        self.published: Counter[UUID] = Counter()
        self._outage_since: float | None = None
        self._swept: Counter[UUID] = Counter()
        self.world.broker.appended = self._appended
        self._owed_since: dict[UUID, float] = {}
        self.world.server.rows_taken = self._taken
        self.world.server.rows_owed = self._owed
        self.world.server.letters_settled = self._settled
        self.world.on_told = self._told

    def _appended(self, place: TopicPartition, held: Held) -> None:
        if place.topic != OUT:
            return
        kind, number = orjson.loads(held.value or b"[0, 0]")
        event_id = owed_id(kind, number)
        self.published[event_id] += 1
        now, stage, owed_at = self.world.scheduler.now, self.stage, self._owed_since.get(event_id)
        if owed_at is None or self.published[event_id] > 1:
            return
        well_since = max(stage.disturbed_until, stage.leaderless_until.get(place, 0.0))
        if now - owed_at > PROMPT_SECONDS_MAX and well_since < owed_at:
            self.world.find("one partition's trouble is its own: a row for a healthy partition waited too long")

    def _owed(self, event_ids: Sequence[UUID]) -> None:
        """Note since when rows can be seen: a transaction may have waited, and its time is that of its begin."""
        self._owed_since.update(dict.fromkeys(event_ids, self.world.scheduler.now))

    def _taken(self, event_ids: Sequence[UUID]) -> None:
        """Count how often a row is leased anew while no broker answers, by somebody who knows of it."""
        broker, now = self.world.broker, self.world.scheduler.now
        if broker.answers:
            self._outage_since = None
            self._swept.clear()
            return
        if self._outage_since is None:
            self._outage_since = now
        self._swept.update(event_ids)
        if any(self._swept[event_id] > SWEEPS_MAX + self.world.kills for event_id in event_ids):
            self.world.find("the sweeper pauses in an outage: a row was leased again and again")

    def _settled(self) -> None:
        _check_letters(self.stage)

    def _told(self, item: int) -> None:
        row = self.world.server.table("task").rows.get(item)
        if row is None or row.value is None or not row.value["done"]:
            self.world.find("told after the commit: due work was told of that is not committed")


def folded(server: Server, topic: str) -> set[int]:
    """Return the numbers of the events that the fold of a topic has kept."""
    if topic == IN:
        return {row["id"] for row in server.table("kept").committed()}
    return {row["id"].int for row in server.table("noted").committed()}


def at_rest(stage: Stage) -> list[str]:
    """Return what is not at rest."""
    world, server = stage.world, stage.world.server
    left = []
    if waiting := [row for row in server.table("outbox").committed() if row["parked_reason"] is None]:
        left.append(f"{len(waiting)} outbox rows wait")
    if waiting := [row for row in server.table("task").committed() if not row["done"]]:
        left.append(f"{len(waiting)} tasks are due")
    letters = server.table("dead_letter").committed()
    if waiting := [row for row in letters if _waits_for_somebody(row)]:
        left.append(f"{len(waiting)} letters wait")
    if any(row["released_at"] is None for row in server.table("brake").committed()):
        left.append("a brake holds a partition")
    elif any(client.is_open and client.kind == "consumer" and client.owner.paused() for client in world.clients):
        left.append("a partition is paused without a brake")
    for topic, events in stage.asked.items():
        kept = folded(server, topic)
        if missing := [number for number, event in events.items() if number not in kept and event.trouble != "old"]:
            left.append(f"events {missing} of {topic} are not kept")
    places = {(row["topic"], row["partition"], row["offset"]) for row in letters}
    if missing := stage.unread - places:
        left.append(f"no letters of {sorted(missing)}")
    return left + [words for process in world.processes if (words := _unready(process))]


def _unready(process: Process) -> str | None:
    if not process.is_up or process.machine is None:
        return f"process {process.instance} is not up"
    reasons = process.machine.health.reasons
    return f"process {process.instance} is not ready: {reasons}" if reasons else None


def _waits_for_somebody(letter: dict[str, Any]) -> bool:
    mendable = letter["kind"] in ("bug", "key_unknown") and letter["record_key"] != b"old" and not _is_hopeless(letter)
    return letter["state"] == "redrive" or (letter["state"] == "new" and mendable)


def _is_hopeless(letter: dict[str, Any]) -> bool:
    return letter["value"] in (b"{nope", b"", None)


def check_rest(stage: Stage, watching: Watching) -> None:
    """Look at a world at rest."""
    _check_letters(stage)
    _check_published(stage, watching)
    _check_clients(stage)
    check_released(stage)
    world = stage.world
    told = world.told
    done = [row["id"] for row in world.server.table("task").committed() if row["done"]]
    quiet = not world.kills and not any(
        step.name.startswith(("postgres", "commits", "sessions", "sigterm")) for step in stage.schedule.steps
    )
    if quiet and (silent := [item for item in done if not told[item]]):
        world.find(f"told after the commit: nothing was told of {len(silent)} settled tasks")


def _check_letters(stage: Stage) -> None:
    world, server = stage.world, stage.world.server
    kept = {topic: folded(server, topic) for topic in TOPICS}
    logs = [log for topic in TOPICS for log in world.broker.topics[topic]]
    held = {(*log.place, record.offset) for log in logs for record in log.records}
    for letter in server.table("dead_letter").committed():
        place = (letter["topic"], letter["partition"], letter["offset"])
        if letter["record_key"] != b"old" and place not in held:
            world.find(f"no false letters: {place} is no record")
        if letter["state"] == "done" and not _is_hopeless(letter):
            number = orjson.loads(letter["value"])[0]
            if number not in kept[letter["topic"]]:
                world.find(f"nothing lost: the letter of event {number} is done, and the event is not kept")


def _check_published(stage: Stage, watching: Watching) -> None:
    world = stage.world
    parked = {row["event_id"]: row for row in world.server.table("outbox").committed()}
    faults = sum(step.name in FAULTS for step in stage.schedule.steps)
    most = 1 if not faults else 2 + faults
    owed = [
        (kind, number)
        for topic, kinds in OWED_BY_TOPIC.items()
        for number in folded(world.server, topic)
        for kind in kinds
    ]
    for kind, number in owed:
        times, event_id = watching.published[owed_id(kind, number)], owed_id(kind, number)
        if not times and event_id not in parked:
            world.find(f"nothing lost: record {kind} of event {number} was never published")
        if times > most:
            world.find(f"published once: record {kind} of event {number} came {times} times, of {faults} faults")
    for row in parked.values():
        if row["key"] not in stage.refused_accounts:
            world.find(f"parked without a reason: {row['key']!r} {row['parked_reason']}")


def _check_clients(stage: Stage) -> None:
    world = stage.world
    for process in world.processes:
        loop = process.loop
        if loop is None:
            continue
        count = Counter(client.kind for client in world.clients if client.loop is loop and client.is_open)
        lanes = max(1, len(set(topics_read(world, process))))
        for kind, most in {"producer": 1, "consumer": lanes, "admin": lanes}.items():
            if count[kind] > most:
                world.find(f"no leaks: {count[kind]} open clients of kind {kind} in one process")


def check_end(stage: Stage) -> None:
    """Look at a world whose processes were told to end."""
    world = stage.world
    for process in world.processes:
        if process.is_up:
            world.find("SIGTERM ends a process: one still runs")
    if world.server.unknown:
        world.find(f"every statement is known: {world.server.unknown[0]}")
