"""The rules of the layout as functions of a module's source: each gives a sentence per offence."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

from tests.support.rooms import in_rooms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50
FOLDERS = ("countersign", "services", "deploy", "tests")
SERVICES = frozenset({"gateway", "risk_evaluator", "verifier", "notifier", "enrolment", "exports"})

# What reaches out of the process, waits, or is different every time: not for `model` and `decide`.
WORLD = frozenset({
    "aioboto3", "aiobotocore", "aiohttp", "aiokafka", "asyncio", "asyncpg", "boto3", "botocore", "concurrent",
    "http", "io", "jinja2", "logging", "multiprocessing", "os", "pathlib", "prometheus_client", "random",
    "requests", "secrets", "shutil", "signal", "socket", "sqlite3", "ssl", "structlog", "subprocess", "sys",
    "tempfile", "threading", "time", "urllib", "uvloop", "yaml",
})  # fmt: skip
PLAIN_RUNTIME = frozenset(
    {"countersign.runtime.errors", "countersign.runtime.messages.record", "countersign.runtime.messages.cloudevents"}
)
# What asks the verifier for its keys over HTTP (decision 84), and what of a fold or of due work may not wait for that.
ASKS_FOR_KEYS = re.compile(r"grants\.(prepare|check|fetch)$")
IN_A_TRANSACTION = frozenset({"load", "decide", "save", "take", "settle"})
OPENS_A_TRANSACTION = re.compile(r"\.(transaction|acquire|use)\(")
CLOCKS = frozenset({"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"})
# The one wall clock of programs that have no database to ask.
CLOCK_FILES = frozenset({"countersign/clock.py"})
NAMELESS = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "misc", "base", "stuff"})
# What stands above each part of the package; the first that fits counts.
LAYERS = {
    "countersign.runtime": (
        "countersign.contract",
        "countersign.client",
        "countersign.operations",
        "countersign.cli",
        "countersign.policy",
        "countersign.timeline",
        "services",
    ),
    # What happened to a request is read by services and by the command line, and stands on neither.
    "countersign.timeline": (
        "countersign.client",
        "countersign.operations",
        "countersign.cli",
        "countersign.policy",
        "services",
    ),
    "countersign.contract": ("countersign.client", "countersign.operations", "countersign.cli", "services"),
    "countersign.client": ("countersign.operations", "countersign.cli", "services"),
    "countersign.operations": ("countersign.cli", "services"),
    "countersign.cli": (),
    "countersign": ("services",),
}
LAYOUT = ("__init__.py", "__main__.py", "wiring.py", "model*.py", "decide*.py", "fold*.py", "store*.py")
CARD = ("decides", "reads", "writes", "owns")
# The words that name nothing here.
WORDS = frozenset({"validate", "validator", "sync", "info", "helper", "util", "utils", "handler", "manage"})
UNFINISHED = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b|/(work|home|Users)/[a-z]")


@dataclass(frozen=True)
class Module:
    """A Python file by its path below the repository."""

    path: PurePosixPath
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, str(self.path))

    @property
    def name(self) -> str:
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def service(self) -> str | None:
        """Return the service that the module is part of."""
        parts = self.path.parts
        return parts[1] if parts[0] == "services" and len(parts) > 2 else None

    @property
    def is_plain(self) -> bool:
        """Whether it is a service's `model` or `decide`, or a part of one."""
        return self.service is not None and self.path.stem.split("_")[0] in {"model", "decide", "judge"}

    def imports(self) -> Iterator[tuple[int, str]]:
        """Yield line and module of every import, those for type checkers too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.lineno, node.module
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)

    def own_imports(self) -> Iterator[str]:
        """Yield the modules of its own service that it imports."""
        own = f"services.{self.service}."
        yield from (name for _, name in self.imports() if self.service is not None and name.startswith(own))

    def defined(self) -> Iterator[tuple[int, str]]:
        """Yield line and name of every function and class."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield node.lineno, node.name


def of_moderate_length(module: Module) -> Iterator[str]:
    """Files of at most 300 lines, functions of at most 50."""
    lines = module.source.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{module.path}: {lines} lines; at most {FILE_LINES_MAX}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"{module.path}:{node.lineno}: {node.name} has {length} lines; at most {FUNCTION_LINES_MAX}"


def named_for_what_it_is(module: Module) -> Iterator[str]:
    """No module named for being of use, no function or class named by a word that names nothing."""
    if NAMELESS & {*module.path.parent.parts, module.path.stem}:
        yield f"{module.path}: name the thing"
    for line, name in module.defined():
        words = set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))
        for word in sorted(words & WORDS):
            yield f"{module.path}:{line}: {name}: not `{word}`, say what it does"
        if name.startswith("process_"):
            yield f"{module.path}:{line}: {name}: not `process`, say what it does"


def finished(module: Module) -> Iterator[str]:
    """Nothing left for later, no path of somebody's machine."""
    for number, line in enumerate(module.source.splitlines(), start=1):
        if UNFINISHED.search(line):
            yield f"{module.path}:{number}: unfinished, or a path of one machine"


def apart_from_siblings(module: Module) -> Iterator[str]:
    """Yield what a service imports beside countersign and itself."""
    if module.service is None:
        return
    own = f"services.{module.service}"
    for line, name in module.imports():
        if _within(name, "services") and not _within(name, own) and name != "services":
            yield f"{module.path}:{line}: imports its sibling {name}"
        elif _within(name, "deploy") or _within(name, "tests"):
            yield f"{module.path}:{line}: a service imports countersign only, not {name}"


def in_layers(module: Module) -> Iterator[str]:
    """Yield what imports something built on it: runtime knows no domain, and the package knows no service."""
    layer = next((each for each in LAYERS if _within(module.name, each)), None)
    if layer is None:
        return
    for line, name in module.imports():
        if any(_within(name, each) for each in (*LAYERS[layer], "deploy", "tests")):
            yield f"{module.path}:{line}: imports {name}, which is built on it"
        inside = name.split(".")[2:3]
        if _within(name, "services") and inside and not inside[0].startswith(("model", "decide")):
            yield f"{module.path}:{line}: of a service the command line imports model and decide, not {name}"


def plain(module: Module) -> Iterator[str]:
    """`model` and `decide` import plain data only, and wait for nothing."""
    if module.is_plain:
        yield from as_plain(module)


def as_plain(module: Module, allowed: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield what keeps a module from being pure, whatever its name is."""
    for line, name in module.imports():
        outer = name.split(".")[0] in WORLD - allowed
        machinery = _within(name, "countersign.runtime") and not any(
            _within(name, each) or name == "countersign.runtime" for each in PLAIN_RUNTIME
        )
        if outer or machinery:
            yield f"{module.path}:{line}: {module.path.stem} imports plain data only, not {name}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield f"{module.path}:{node.lineno}: {module.path.stem} waits for nothing"


def without_a_clock(module: Module) -> Iterator[str]:
    """Time comes from the database or as an argument; when a module is imported is no time at all."""
    if module.path.parts[0] not in {"countersign", "services"} or str(module.path) in CLOCK_FILES:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and ".".join(ast.unparse(node.func).split(".")[-2:]) in CLOCKS:
            yield f"{module.path}:{node.lineno}: asks the wall clock; take `now` as an argument"


def without_waits_for_keys(module: Module) -> Iterator[str]:
    """No transaction, and no fold, waits for the verifier's HTTP: it judges with the keys at hand."""
    for node in ast.walk(module.tree):
        inside = isinstance(node, ast.AsyncFunctionDef) and node.name in IN_A_TRANSACTION
        inside |= isinstance(node, ast.AsyncWith) and any(
            OPENS_A_TRANSACTION.search(ast.unparse(item.context_expr)) for item in node.items
        )
        for call in ast.walk(node) if inside and module.service is not None else ():
            if isinstance(call, ast.Call) and ASKS_FOR_KEYS.search(ast.unparse(call.func)):
                yield f"{module.path}:{call.lineno}: waits for the verifier's keys while PostgreSQL waits for it"


Rule: TypeAlias = "Callable[[Module], Iterator[str]]"
RULES: tuple[Rule, ...] = (
    of_moderate_length,
    named_for_what_it_is,
    finished,
    apart_from_siblings,
    in_layers,
    in_rooms,
    plain,
    without_a_clock,
    without_waits_for_keys,
)


def beneath_the_plain(every: Sequence[Module]) -> list[Module]:
    """Return the modules that `model` and `decide` import of their own service, however many steps away."""
    by_name = {module.name: module for module in every}
    reached: dict[str, Module] = {}
    due = [module for module in every if module.is_plain]
    while due:
        for name in due.pop().own_imports():
            found = by_name.get(name)
            if found is not None and name not in reached and not found.is_plain:
                reached[name] = found
                due.append(found)
    return list(reached.values())


def laid_out(service: Path) -> Iterator[str]:
    """Yield what the folder of a service lacks of the layout that all services share."""
    for pattern in LAYOUT:
        if not any(service.glob(pattern)):
            yield f"{service.name}: has no {pattern}"
    migrations = sorted(path.name for path in (service / "migrations").glob("*.sql"))
    if [name[:4] for name in migrations] != [
        f"{number:04}" for number in range(1, len(migrations) + 1)
    ] or not migrations:
        yield f"{service.name}: migrations are numbered 0001 and on, without a gap; there are {migrations}"
    card = (service / "__init__.py").read_text("utf-8") if (service / "__init__.py").is_file() else ""
    lines = (ast.get_docstring(ast.parse(card)) or "").lower().splitlines()
    for word in CARD:
        if not any(line.startswith(word) for line in lines):
            yield f"{service.name}: its card does not say what it {word}"


def modules(root: Path) -> list[Module]:
    """Return every hand-written Python file."""
    paths = (path for folder in FOLDERS for path in (root / folder).rglob("*.py"))
    return [
        Module(PurePosixPath(path.relative_to(root).as_posix()), path.read_text("utf-8"))
        for path in sorted(paths)
        if "__pycache__" not in path.parts
    ]


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")
