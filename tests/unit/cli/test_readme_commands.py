"""Every command that the README names is there, with the options that it is shown with."""

from __future__ import annotations

import re
import shlex

import pytest

from deploy.local.checkout import CHECKOUT
from tests.support.every_command import ALL_SERVICES, commands_of, every_command

README = (CHECKOUT / "README.md").read_text("utf-8")
COMMANDS = every_command()
SHOWN = sorted(set(re.findall(r"`(countersign [a-z][^`]*)`", README)))
PROGRAMS = sorted(set(re.findall(r"`python -m services\.(\w+) ([a-z-]+)`", README)))
PICTURES = sorted(set(re.findall(r"\]\((docs/pictures/[^)]+)\)", README)))


@pytest.mark.parametrize("shown", SHOWN)
def test_a_command_is_there(shown: str) -> None:
    """Named as it is called; a group of commands may be named alone."""
    _, *words = shlex.split(shown)
    name = max((one for one in COMMANDS if words[: len(one.split())] == one.split()), key=len, default=None)
    if name is None:
        assert any(one.startswith(f"{' '.join(words)} ") for one in COMMANDS), "there is no such command"
        return
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    options = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert options <= known | {"--help"}


def test_the_engineer_on_call_finds_the_commands() -> None:
    """A table by question, none of the groups left out."""
    section = README.partition("## For the engineer on call")[2].partition("\n## ")[0]
    groups = {name.split()[0] for name in COMMANDS} - {"publish-example", "secrets"}
    assert {group for group in groups if f"`countersign {group}" not in section} == set()


@pytest.mark.parametrize(("service", "command"), PROGRAMS)
def test_a_program_of_a_service_is_there(service: str, command: str) -> None:
    """Also the commands that one service alone has."""
    assert command in {one.name: commands_of(one) for one in ALL_SERVICES}[service]


@pytest.mark.parametrize("picture", PICTURES)
def test_a_picture_is_there_and_asks_nobody(picture: str) -> None:
    """A drawing fetches no font and nothing else when it is looked at."""
    content = (CHECKOUT / picture).read_bytes()
    assert content
    if picture.endswith(".svg"):
        text = (
            content.decode().replace('xmlns="http://www.w3.org/2000/svg"', "").replace("https://www.textualize.io", "")
        )
        assert "http" not in text
        assert "@font-face" not in text
        assert len(content) < 64 * 1024
