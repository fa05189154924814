"""What is missing is told in one sentence with the command that helps."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from deploy.local import checkout, needs
from deploy.local.bootstrap import put_program_beside
from deploy.local.checkout import CHECKOUT
from deploy.local.layout import Layout, UnfitError, from_environment
from deploy.local.stack import call_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder the whole search path of programs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def _put(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def _refused(finding: tuple[str, list[str]] | None, monkeypatch: pytest.MonkeyPatch) -> str:
    assert finding is not None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit) as refused:
        needs.install_or_refuse(*finding)
    return str(refused.value)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "Java 17 or newer is missing"),
        ("""echo 'openjdk version "11.0.2"' >&2""", "`java` is 11"),
        ("echo nothing useful", "`java` is something else"),
    ],
)
def test_no_fitting_java(only: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, words: str) -> None:
    """None, too old, or no Java at all behind the name."""
    if script is not None:
        _put(only, "java", script)
    said = _refused(needs.java(), monkeypatch)
    assert words in said
    assert said.endswith("sudo apt-get install -y default-jre-headless")


def test_a_fitting_java_is_enough(only: Path) -> None:
    """Kafka 4 needs 17."""
    _put(only, "java", """echo 'openjdk version "17.0.1"' >&2""")
    assert needs.java() is None


def test_no_maven(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Needed only while the jars are not there."""
    monkeypatch.setattr(needs, "jars_are_there", lambda: False)
    assert _refused(needs.maven(), monkeypatch).endswith("sudo apt-get install -y maven")
    monkeypatch.setattr(needs, "jars_are_there", lambda: True)
    assert needs.maven() is None
    assert not list(only.iterdir())


def test_no_chromium(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Needed by the tests alone."""
    assert _refused(needs.chromium(), monkeypatch).endswith("sudo apt-get install -y chromium")
    assert not list(only.iterdir())


def test_root_on_debian_installs_what_is_missing(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Update, then install, without questions."""
    _put(only, "apt-get", f'echo "$DEBIAN_FRONTEND $*" >> {only}/asked')
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    needs.install_or_refuse("Maven is missing", ["maven"])
    asked = (only / "asked").read_text().splitlines()
    assert asked == ["noninteractive update -qq", "noninteractive install -y -qq --no-install-recommends maven"]


def test_an_old_python(tmp_path: Path) -> None:
    """The shell part says so before any Python of ours runs."""
    for name in ("sh", "dirname", "cat"):
        tool = shutil.which(name)
        assert tool is not None
        (tmp_path / name).symlink_to(tool)
    _put(tmp_path, "python3", '[ "$1" = --version ] && echo Python 3.8.10 || exit 1')
    _put(tmp_path, "id", "echo 1000")
    script = CHECKOUT / "deploy" / "local" / "bootstrap.sh"
    done = subprocess.run(
        ["sh", str(script), "local"], check=False, capture_output=True, text=True, env={"PATH": str(tmp_path)}
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "Python 3.11 or newer is needed, and python3 is Python 3.8.10: sudo apt-get install" in done.stderr


@pytest.mark.parametrize("ports", ["80", "65530", "http", "-1", ""])
def test_ports_that_cannot_be(monkeypatch: pytest.MonkeyPatch, ports: str) -> None:
    """Privileged, too high for 40 of them, or no number."""
    monkeypatch.setenv("PORTS", ports)
    with pytest.raises(UnfitError, match="make run PORTS=9080"):
        from_environment()


def test_below_a_closed_folder_root_puts_postgres_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's home is opened for PostgreSQL's user; for everybody else the path stays."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    moved = checkout.reachable(home / "checkout" / "postgres")
    assert str(moved).startswith("/var/lib/countersign/")
    assert moved.name == "postgres"
    assert moved != checkout.reachable(home / "another" / "postgres")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert checkout.reachable(home / "checkout" / "postgres") == home / "checkout" / "postgres"


def test_the_command_line_is_on_the_path_of_the_virtual_environment(tmp_path: Path) -> None:
    """Called from anywhere, its arguments reach it as they are; a second time nothing is written."""
    (tmp_path / "bin").mkdir()
    _put(tmp_path / "bin", "python", """printf '%s|' "$@" """)
    program = put_program_beside(tmp_path / "bin" / "python")
    said = subprocess.run([program, "tail", "a b", "--where", "x==''"], check=True, capture_output=True, text=True)
    assert said.stdout == "-m|countersign.cli|tail|a b|--where|x==''|"
    before = program.stat()
    put_program_beside(tmp_path / "bin" / "python")
    assert program.stat() == before


def test_make_run_says_how_to_call_it(tmp_path: Path) -> None:
    """With DATA where the stack is not in the usual folder."""
    layout = Layout(tmp_path, 20_000)
    assert call_of(layout) == f"DATA={tmp_path} {call_of(Layout(CHECKOUT / '.local', 20_000))}"
    assert call_of(layout).endswith("bin/countersign")
