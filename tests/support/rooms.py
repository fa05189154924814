"""Which part of `countersign/runtime` may import which. `python -m tests.support.rooms` prints the table of today."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.architecture import Module

RUNTIME = "countersign.runtime"
# Files directly in the folder that import nothing of the runtime; everything there may import them.
PLAIN = frozenset({"backoff", "checkpoint", "checkup", "errors", "waker"})
# Each room, or file directly in the folder, and what it may import beside PLAIN. A row names rows above it only, so
# there is no cycle. What a row may import it does import: a permission that nothing uses any more is taken out.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "messages": frozenset(),
    "broker": frozenset(),
    "loopback": frozenset({"broker"}),
    "settings": frozenset({"broker", "loopback"}),
    "database": frozenset({"settings"}),
    "retention": frozenset({"database"}),
    "keys": frozenset({"retention", "settings"}),
    "watching": frozenset({"keys", "messages"}),
    "web": frozenset({"messages", "settings", "watching"}),
    "tracing": frozenset({"messages", "settings", "watching"}),
    "publishing": frozenset({"broker", "database", "messages", "settings", "tracing", "watching"}),
    "due_work": frozenset({"database", "messages", "publishing", "retention", "watching"}),
    "folding": frozenset({"database", "due_work", "messages", "publishing", "retention", "tracing", "watching"}),
    "consuming": frozenset({
        "broker", "database", "folding", "messages", "publishing", "settings", "tracing", "watching",
    }),
    "replay": frozenset({"broker", "consuming", "database", "folding", "messages", "publishing", "settings"}),
    "program": frozenset({
        "broker", "consuming", "database", "due_work", "folding", "keys", "messages", "publishing", "replay",
        "retention", "settings", "tracing", "watching", "web",
    }),
}  # fmt: skip


def in_rooms(module: Module) -> Iterator[str]:
    """Yield what a module of the runtime imports from a room that its own may not import."""
    room = _room(module.name)
    if room is None:
        return
    if room not in MAY_IMPORT and room not in PLAIN:
        yield f"{module.path}: {room} has no row in tests/support/rooms.py: say what it may import"
        return
    for line, imported in _imports(module):
        if imported not in MAY_IMPORT.get(room, frozenset()) | (PLAIN if room not in PLAIN else frozenset()):
            yield f"{module.path}:{line}: {room} imports {imported}, which tests/support/rooms.py does not permit"


def edges(every: Sequence[Module]) -> Counter[tuple[str, str]]:
    """Return how many modules of one room import something of another, those for type checkers too."""
    found: Counter[tuple[str, str]] = Counter()
    for module in every:
        room = _room(module.name)
        if room is not None:
            found.update({(room, imported) for _, imported in _imports(module)})
    return found


def table(every: Sequence[Module]) -> list[str]:
    """Return a Markdown table: each room above those that import it, its files, and how many of them import what."""
    counts = edges(every)
    rows = ["| room or file | files | imports (how many of its files do) |", "|---|---|---|"]
    for room, permitted in MAY_IMPORT.items():
        files = sum(_room(module.name) == room and module.path.name != "__init__.py" for module in every)
        told = ", ".join(f"{other} {counts[room, other]}" for other in MAY_IMPORT if other in permitted)
        rows.append(f"| {room} | {files} | {told or 'nothing'} |")
    return rows


def _room(name: str) -> str | None:
    """Return the folder or file directly in the runtime's folder that a module is, None of other modules."""
    inside = name.removeprefix(f"{RUNTIME}.")
    return None if inside == name else inside.split(".")[0]


def _imports(module: Module) -> Iterator[tuple[int, str]]:
    room = _room(module.name)
    for line, name in module.imports():
        imported = _room(name)
        if imported is not None and imported != room:
            yield line, imported


if __name__ == "__main__":
    from tests.support.architecture import modules

    print("\n".join(table(modules(Path(__file__).parents[2]))))  # noqa: T201
