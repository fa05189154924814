"""The layout holds, and the rules that say so would find it if it did not."""

from __future__ import annotations

import ast
import re
from pathlib import Path, PurePosixPath

import pytest

from tests.support import architecture, rooms
from tests.support.architecture import Module

ROOT = Path(__file__).parents[1]
EVERY = architecture.modules(ROOT)


def found(path: str, source: str) -> list[str]:
    """Return what the rules say of a planted module, without the path before it."""
    module = Module(PurePosixPath(path), source)
    return [line.removeprefix(path).lstrip(":") for rule in architecture.RULES for line in rule(module)]


def rule_name(rule: object) -> str:
    return getattr(rule, "__name__", "")


@pytest.mark.parametrize("rule", architecture.RULES, ids=rule_name)
def test_the_code_keeps_the_rule(rule: architecture.Rule) -> None:
    """In countersign, services, deploy and tests."""
    assert [line for module in EVERY for line in rule(module)] == []


def test_the_rules_see_the_code() -> None:
    """Every service and every part of the package is among what they look at."""
    assert {module.service for module in EVERY} >= architecture.SERVICES
    parts = {module.path.parts[1] for module in EVERY if module.path.parts[0] == "countersign"}
    assert parts >= {"contract", "runtime", "client", "cli"}
    assert sum(module.is_plain for module in EVERY) >= 2 * len(architecture.SERVICES)


@pytest.mark.parametrize("service", sorted(architecture.SERVICES))
def test_a_service_is_laid_out_like_every_other(service: str) -> None:
    """Its files, its numbered migrations, its card."""
    assert list(architecture.laid_out(ROOT / "services" / service)) == []


def test_there_are_six_services_and_nothing_else_beside_them() -> None:
    """The folder list is the diagram."""
    folders = {path.name for path in (ROOT / "services").iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == architecture.SERVICES


def test_what_decide_stands_on_is_plain_too() -> None:
    """One step away or several. `secrets` may lie beneath: codes are drawn while loading, not while deciding."""
    beneath = architecture.beneath_the_plain(EVERY)
    assert beneath
    assert [line for module in beneath for line in architecture.as_plain(module, frozenset({"secrets"}))] == []


@pytest.mark.parametrize(
    ("path", "source", "finding"),
    [
        ("services/verifier/fold.py", "x = 1\n" * 301, " 301 lines; at most 300"),
        ("countersign/policy.py", "def f():\n" + "    x = 1\n" * 50, "1: f has 51 lines; at most 50"),
        ("tests/unit/test_x.py", "async def f():\n" + "    x = 1\n" * 50, "1: f has 51 lines; at most 50"),
        ("deploy/local/utils.py", "", " name the thing"),
        ("services/verifier/helpers/codes.py", "", " name the thing"),
        ("services/gateway/manager.py", "", " name the thing"),
        (
            "services/verifier/store.py",
            "def validate_code(): ...\n",
            "1: validate_code: not `validate`, say what it does",
        ),
        (
            "services/verifier/store.py",
            "class CodeValidator: ...\n",
            "1: CodeValidator: not `validator`, say what it does",
        ),
        (
            "services/verifier/store.py",
            "def process_answer(): ...\n",
            "1: process_answer: not `process`, say what it does",
        ),
        ("services/verifier/store.py", "\nX = 1  # TO" + "DO later\n", "2: unfinished, or a path of one machine"),
        ("deploy/local/run.py", 'HOME = "/ho' + 'me/me/countersign"\n', "1: unfinished, or a path of one machine"),
        (
            "services/verifier/wiring.py",
            "import services.notifier.codes\n",
            "1: imports its sibling services.notifier.codes",
        ),
        ("services/verifier/wiring.py", "from services import notifier\n", "1: imports its sibling services.notifier"),
        (
            "services/verifier/wiring.py",
            "def f():\n    from services.notifier import codes\n",
            "2: imports its sibling services.notifier",
        ),
        (
            "services/verifier/wiring.py",
            "from deploy import local\n",
            "1: a service imports countersign only, not deploy",
        ),
        (
            "countersign/runtime/folding/fold.py",
            "from countersign.contract import EVENTS\n",
            "1: imports countersign.contract, which is built on it",
        ),
        (
            "countersign/runtime/folding/fold.py",
            "from countersign import client\n",
            "1: imports countersign.client, which is built on it",
        ),
        (
            "countersign/contract/topics.py",
            "import countersign.client.grants\n",
            "1: imports countersign.client.grants, which is built on it",
        ),
        (
            "countersign/client/grants.py",
            "from services.verifier.model import X\n",
            "1: imports services.verifier.model, which is built on it",
        ),
        (
            "countersign/policy.py",
            "from services.verifier.model import X\n",
            "1: imports services.verifier.model, which is built on it",
        ),
        ("countersign/places.py", "import tests.support\n", "1: imports tests.support, which is built on it"),
        (
            "countersign/cli/why.py",
            "from services.verifier.store import X\n",
            "1: of a service the command line imports model and decide, not services.verifier.store",
        ),
        (
            "countersign/runtime/database/leases.py",
            "from countersign.runtime.program.frame import Service\n",
            "1: database imports program, which tests/support/rooms.py does not permit",
        ),
        (
            "countersign/runtime/messages/record.py",
            "if TYPE_CHECKING:\n    from countersign.runtime import settings\n",
            "2: messages imports settings, which tests/support/rooms.py does not permit",
        ),
        (
            "countersign/runtime/errors.py",
            "def f():\n    import countersign.runtime.backoff\n",
            "2: errors imports backoff, which tests/support/rooms.py does not permit",
        ),
        (
            "countersign/runtime/attic/boxes.py",
            "",
            " attic has no row in tests/support/rooms.py: say what it may import",
        ),
        ("services/verifier/model.py", "import asyncpg\n", "1: model imports plain data only, not asyncpg"),
        (
            "services/verifier/decide.py",
            "from asyncio import sleep\n",
            "1: decide imports plain data only, not asyncio",
        ),
        (
            "services/verifier/decide.py",
            "from aiokafka.structs import X\n",
            "1: decide imports plain data only, not aiokafka.structs",
        ),
        ("services/verifier/decide_delivery.py", "import os\n", "1: decide_delivery imports plain data only, not os"),
        ("services/verifier/decide.py", "import time\n", "1: decide imports plain data only, not time"),
        ("services/verifier/decide.py", "import secrets\n", "1: decide imports plain data only, not secrets"),
        (
            "services/verifier/decide.py",
            "from countersign.runtime.publishing import outbox\n",
            "1: decide imports plain data only, not countersign.runtime.publishing.outbox",
        ),
        ("services/verifier/decide.py", "async def decide(): ...\n", "1: decide waits for nothing"),
        (
            "services/verifier/store.py",
            "from datetime import datetime\nNOW = datetime.now()\n",
            "2: asks the wall clock; take `now` as an argument",
        ),
        (
            "countersign/runtime/due_work/due.py",
            "import time\ndef f(at=time.time()): ...\n",
            "2: asks the wall clock; take `now` as an argument",
        ),
        (
            "countersign/policy.py",
            "import datetime\nTODAY = datetime.date.today()\n",
            "2: asks the wall clock; take `now` as an argument",
        ),
        (
            "services/exports/fold.py",
            "class Fold:\n    async def load(self, db, events):\n        await self._grants.prepare(events)\n",
            "3: waits for the verifier's keys while PostgreSQL waits for it",
        ),
        (
            "services/enrolment/routes.py",
            "async def put(t):\n    async with t.pool.acquire() as db:\n        await t.grants.check(db)\n",
            "3: waits for the verifier's keys while PostgreSQL waits for it",
        ),
    ],
)
def test_an_offence_is_found(path: str, source: str, finding: str) -> None:
    """Each rule, with code planted against it."""
    assert finding in found(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("services/verifier/fold.py", "x = 1\n" * 300),
        ("countersign/policy.py", "def f():\n" + "    x = 1\n" * 49),
        (
            "services/verifier/wiring.py",
            "import asyncpg\nfrom services.verifier import fold\nfrom countersign import runtime\n",
        ),
        (
            "services/verifier/decide.py",
            "import hmac\nfrom datetime import datetime\nfrom countersign.contract import Action\n",
        ),
        (
            "services/verifier/decide.py",
            "from countersign.runtime.errors import OffContractError\nimport services.verifier.model\n",
        ),
        ("countersign/cli/check.py", "from services.verifier.decide import decide\n"),
        ("countersign/runtime/program/service.py", "from countersign.runtime.consuming.consumer import Consumer\n"),
        ("countersign/runtime/messages/record.py", "from countersign.runtime import errors\n"),
        ("countersign/clock.py", "import time\ndef f():\n    return time.time()\n"),
        (
            "services/enrolment/routes.py",
            "async def put(t):\n    await t.grants.prepare([])\n    async with t.pool.acquire() as db:\n        pass\n",
        ),
        ("services/verifier/store.py", "class AccountManager: ...\ndef managers(): ...\ndef a_dead_process(): ...\n"),
    ],
)
def test_what_is_no_offence_is_let_pass(path: str, source: str) -> None:
    """Each limit from the other side."""
    assert found(path, source) == []


def test_the_rooms_of_the_runtime_stand_on_each_other_without_a_cycle() -> None:
    """A row of the table names rows above it only, so whatever the rules let pass has an order."""
    above = set(rooms.PLAIN)
    for room, permitted in rooms.MAY_IMPORT.items():
        assert permitted <= above - rooms.PLAIN, f"{room} names what stands below it"
        above.add(room)


def test_the_table_of_rooms_permits_nothing_that_nobody_does() -> None:
    """Else the next import of that kind would pass unseen."""
    found = rooms.edges(EVERY)
    permitted = {(room, other) for room, others in rooms.MAY_IMPORT.items() for other in others}
    assert {pair for pair in found if pair[1] not in rooms.PLAIN} == permitted
    folder = ROOT / "countersign" / "runtime"
    there = {path.stem for path in folder.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    assert there - {"__init__"} == {*rooms.MAY_IMPORT, *rooms.PLAIN}


def test_the_architecture_names_what_each_room_imports() -> None:
    """The rows of its table, but for the counts: `python -m tests.support.rooms` prints those of today."""
    written = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for row in rooms.table(EVERY):
        without_counts = re.sub(r"\d+", r"\\d+", re.escape(row))
        assert re.search(f"^{without_counts}$", written, re.MULTILINE), row


def test_impure_code_beneath_a_decision_is_found() -> None:
    """Two steps down."""
    planted = [
        Module(PurePosixPath("services/verifier/decide.py"), "from services.verifier import codes\n"),
        Module(PurePosixPath("services/verifier/codes.py"), "import services.verifier.lamps\n"),
        Module(PurePosixPath("services/verifier/lamps.py"), "import socket\n"),
    ]
    beneath = architecture.beneath_the_plain(planted)
    assert [module.path.stem for module in beneath] == ["codes", "lamps"]
    assert list(architecture.as_plain(beneath[1])) == [
        "services/verifier/lamps.py:1: lamps imports plain data only, not socket"
    ]


def test_a_service_that_is_laid_out_otherwise_is_found(tmp_path: Path) -> None:
    """No file, no card, a gap in the migrations."""
    service = tmp_path / "courier"
    (service / "migrations").mkdir(parents=True)
    (service / "migrations" / "0002_later.sql").touch()
    (service / "__init__.py").write_text('"""Carries.\n\nDecides: nothing.\n"""\n', "utf-8")
    assert list(architecture.laid_out(service)) == [
        *(f"courier: has no {name}" for name in architecture.LAYOUT[1:]),
        "courier: migrations are numbered 0001 and on, without a gap; there are ['0002_later.sql']",
        "courier: its card does not say what it reads",
        "courier: its card does not say what it writes",
        "courier: its card does not say what it owns",
    ]


def test_every_module_can_be_parsed() -> None:
    """By the oldest Python that pyproject.toml promises."""
    for module in EVERY:
        ast.parse(module.source, str(module.path), feature_version=(3, 11))
