"""Every command as its user, without any server: help, wrong arguments, files that cannot be read, a reader gone."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from countersign import cli
from countersign.runtime.program.failures import EXIT_ARGUMENTS, EXIT_SETTINGS, EXIT_UNAVAILABLE
from countersign.runtime.program.service import main
from countersign.runtime.settings import SECRETS_FILE
from services.verifier.wiring import SERVICE as VERIFIER
from tests.support.every_command import (
    ALL_SERVICES,
    CALLS,
    LOGIN,
    SERVICE_CALLS,
    WHY,
    closed_port,
    commands_of,
    every_command,
    every_service_command,
    laid,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.every_command import Ground

COMMANDS = every_command()
ASKING = [name for name, call in CALLS.items() if call.asks]
NARROW = 40
# A file that a command reads, and how it is called with one that cannot be read. `check-message FILE` may be not JSON,
# or an array: to say what is wrong with it is the command's work, so that is a finding.
READ: dict[tuple[str, str], tuple[str, ...]] = {
    ("check-message", "file"): ("{file}", "--type", "access.requested"),
    ("check-message", "headers"): (str(LOGIN), "--headers", "{file}"),
    ("check-message", "authorises"): (str(LOGIN), "--type", "access.requested", "--authorises", "{file}"),
    ("doctor", "secrets"): ("--service", "verifier", "--secrets", "{file}"),
    ("replay run", "file"): ("{file}", *WHY),
    ("replay shadow", "policy"): ("--policy", "{file}"),
    ("offsets reset", "undo"): ("--undo", "{file}"),
    ("keys list", "secrets"): ("--secrets", "{file}"),
    ("keys rotate", "secrets"): ("codes", "--secrets", "{file}"),
    ("keys revoke", "secrets"): ("codes", "code-0", "--secrets", "{file}"),
}
WRITTEN = {("replay plan", "output"), ("offsets reset", "undo_file"), ("secrets new", "directory")}
BAD_FILES = {
    "missing": None,
    "folder": None,
    "not JSON": b"{not json",
    "not UTF-8": b"\xff\xfe\x00\xd8",
    "an array": b"[1]",
    "deep": b"[" * 100_000,
}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """Lay an installation whose servers are not there."""
    return laid(tmp_path_factory.mktemp("closed"), closed_port())


@pytest.fixture
def as_operator(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """Sit where that installation's command line is called."""
    for name in [name for name in os.environ if name not in ground.environment()]:
        monkeypatch.delenv(name)
    for name, value in ground.environment().items():
        monkeypatch.setenv(name, value)
    return ground


def one_sentence(told: str) -> bool:
    return told.startswith("countersign: ") and told.count("\n") == 1 and told.endswith("\n")


def test_each_command_has_a_row() -> None:
    """Whoever adds a command says here how it is called, and all below holds for it too."""
    assert set(COMMANDS) == set(CALLS)
    assert set(every_service_command()) == set(SERVICE_CALLS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_how_and_with_which_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An example of this very command, the exit codes, `--json`; every option with a word; narrow terminals too."""
    assert cli.main([*name.split(), "--help"]) == 0
    told = capsys.readouterr().out
    usage, _, rest = told.partition("\n")
    assert usage.startswith(f"Usage: countersign {name}")
    assert f"\n    countersign {name}" in rest
    assert "exit codes: " in rest.lower()
    assert "--json" in rest
    silent = [one.name for one in COMMANDS[name].params if not getattr(one, "help", "") and one.name != "help"]
    assert not silent, "these have no word of help"
    monkeypatch.setenv("COLUMNS", str(NARROW))
    assert cli.main([*name.split(), "--help"]) == 0
    prose = capsys.readouterr().out.partition("Arguments:")[0].partition("Options:")[0].splitlines()
    assert not [line for line in prose if len(line) > NARROW and " " in line.strip()]


@pytest.mark.parametrize("service", ALL_SERVICES, ids=lambda service: service.name)
def test_the_programs_of_services_say_so_too(service: Any) -> None:
    """The same of `python -m services.<name>`."""
    for name, parser in commands_of(service).items():
        told = " ".join(parser.format_help().split())
        assert f"python -m services.{service.name} {name}" in told.partition("try: ")[2], name
        assert "exit codes: 0 done" in told, name


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("wrong", [["--no-such-option"], ["--json=x"], ["a", "b", "c", "d", "e"]], ids=" ".join)
def test_a_wrong_argument_is_told_in_words(name: str, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and how the command is called."""
    assert cli.main([*name.split(), *wrong]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Error: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ASKING)
def test_without_servers_each_says_so(name: str, as_operator: Ground, capfd: pytest.CaptureFixture[str]) -> None:
    """A sentence with the server and what helps, nothing beside it; with --json only JSON on standard output."""
    call = CALLS[name]
    code = cli.main([*name.split(), *as_operator.filled(call), "--json"])
    out, err = capfd.readouterr()
    for line in out.splitlines():
        json.loads(line)
    if call.finds:
        assert (code, err) == (1, "")
        assert "does not answer" in out
        return
    assert code == 2
    assert one_sentence(err), err
    assert "does not answer" in err or "did not take it" in err
    assert out == ""


@pytest.mark.parametrize("name", SERVICE_CALLS)
def test_without_servers_the_programs_of_services_say_so(
    name: str, ground: Ground, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The same; and no exit code 1, which is a finding and was once taken for "no dead letter would fail"."""
    call, service = SERVICE_CALLS[name], every_service_command()[name]
    if not call.asks:
        return
    for key, value in ground.environment(service.name).items():
        monkeypatch.setenv(key, value)
    code = main(service, [name, *ground.filled(call)])
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    if call.finds:
        assert code == 1
        return
    sentence = err.strip()
    assert sentence.startswith(f"{service.name}: ")
    assert "\n" not in sentence
    assert "does not answer" in sentence
    assert code == EXIT_UNAVAILABLE or (name, code) == ("replay-run", 2)


def test_every_file_is_known_that_a_command_reads_or_writes() -> None:
    """By the type of the option, or what stands for it in the help."""
    found = {
        (name, one.name)
        for name, command in COMMANDS.items()
        for one in command.params
        if "pathlib.Path" in repr(getattr(one, "type_descriptor", "")) or one.metavar in {"FILE", "PLAN", "DIRECTORY"}
    }
    assert found == READ.keys() | WRITTEN


@pytest.mark.usefixtures("as_operator")
@pytest.mark.parametrize(("name", "parameter"), READ, ids=lambda value: value)
@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_cannot_be_read_is_named(
    name: str, parameter: str, kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One sentence with the file's name."""
    content, file = BAD_FILES[kind], tmp_path / "given"
    if content is not None:
        file.write_bytes(content)
    elif kind == "folder":
        file.mkdir()
    arguments = [argument.replace("{file}", str(file)) for argument in READ[name, parameter]]
    code = cli.main([*name.split(), *arguments])
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    if (name, parameter) == ("check-message", "file") and content is not None:
        assert (code, out.startswith("refused: value: ")) == (1, True)
        return
    if (name, parameter) == ("doctor", "secrets") and kind == "folder":
        assert code == 1  # an empty folder holds no secrets file, which is a finding
        return
    assert code == 2
    assert one_sentence(err), err
    assert str(file) in err


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_seed_that_cannot_be_read_is_named(
    kind: str, ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The file is read before any server is asked."""
    content, file = BAD_FILES[kind], tmp_path / "seed.json"
    if content is not None:
        file.write_bytes(content)
    elif kind == "folder":
        file.mkdir()
    for key, value in ground.environment("gateway").items():
        monkeypatch.setenv(key, value)
    code = main(next(one for one in ALL_SERVICES if one.name == "gateway"), ["seed", str(file)])
    err = capfd.readouterr().err
    if kind == "an array":  # what stands in it is judged by the service's own seed, on PostgreSQL
        assert code == EXIT_UNAVAILABLE
        return
    assert code == EXIT_ARGUMENTS
    assert err.startswith(f"gateway: {file} cannot be read: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_secrets_file_that_cannot_be_read_is_named(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As it is with a variable that should be JSON."""
    content, file = BAD_FILES[kind], tmp_path / "verifier.json"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    elif kind == "folder":
        file.mkdir(0o700)
    monkeypatch.setenv(SECRETS_FILE, str(file))
    assert main(VERIFIER, ["limits"]) == EXIT_SETTINGS
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert str(file) in err
    monkeypatch.delenv(SECRETS_FILE)
    monkeypatch.setenv("COUNTERSIGN_HTTP", "{not json")
    assert main(VERIFIER, ["limits"]) == EXIT_SETTINGS
    err = capfd.readouterr().err
    assert (err.count("\n"), '"http"' in err) == (1, True)


@pytest.mark.parametrize("bootstrap", ["broker:port", "broker:99999999", ":9092"])
def test_an_address_of_kafka_that_is_none(bootstrap: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A word for a port once ended in a stack trace of aiokafka."""
    assert cli.main(["lag", "--bootstrap", bootstrap]) == 2
    err = capsys.readouterr().err
    assert one_sentence(err)
    assert "expected HOST:PORT" in err


@pytest.mark.parametrize("arguments", [["--help"], *([*name.split(), "--help"] for name in COMMANDS)], ids=" ".join)
def test_who_reads_may_go_away(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `| head`: exit code 0, and nothing is said when Python flushes."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as out:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stdout", out)
        assert cli.main(arguments) == 0
        out.flush()
