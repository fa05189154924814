"""The Python that the documents show runs as it stands: a log-in with a code, from end to end."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from countersign import client
from countersign.contract.topic_files import schemas_folder
from deploy.local.checkout import CHECKOUT
from tests.support.whole_stack import WholeStack

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stack import RunningStack


def snippets() -> dict[str, str]:
    """Return every piece of Python in the documents that a gateway's developer reads first."""
    _, _, docstring = (client.__doc__ or "").partition("\n\n")
    found = {"countersign.client": docstring}
    for path in (CHECKOUT / "README.md", schemas_folder() / "README.md"):
        for number, text in enumerate(re.findall(r"```python\n(.+?)```", path.read_text("utf-8"), re.DOTALL)):
            found[f"{path.relative_to(CHECKOUT)}-{number}"] = text
    return found


def test_there_are_snippets() -> None:
    """Of the README and of the package."""
    assert {"countersign.client", "README.md-0"} <= snippets().keys()


@pytest.mark.parametrize("snippet", snippets().values(), ids=snippets().keys())
async def test_a_snippet_logs_somebody_in_with_a_code(stack: RunningStack, tmp_path: Path, snippet: str) -> None:
    """In a process of its own that holds nothing but stack.env; a person types the code of the text."""
    whole = WholeStack(stack)
    household = await whole.household()
    (tmp_path / "snippet.py").write_text(snippet, "utf-8")
    demo = {"DEMO_ACCOUNT_ID": str(household.account_id), "DEMO_OWNER_ID": str(household.owner.user_id)}
    seen = len(await whole.texts(household.owner.number))
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", str(tmp_path / "snippet.py")),
        env={**os.environ, **stack.env, **demo, "PYTHONPATH": str(CHECKOUT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    try:
        with suppress(asyncio.IncompleteReadError):  # it ended before it asked: what it says then tells why
            await asyncio.wait_for(program.stdout.readuntil(b"The code sent to +1 "), 60)
        code = "" if program.stdout.at_eof() else await whole.code(household.owner.number, "", nth=seen + 1)
        out, err = await asyncio.wait_for(program.communicate(f"{code}\n".encode()), 60)
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
    assert err.decode() == ""  # closed, too: a connection that is left open is a ResourceWarning
    assert out.decode().endswith("True\n")


def test_the_snippets_pass_a_type_checker_without_plugins(tmp_path: Path) -> None:
    """As a program has it that only installed the package."""
    files = [tmp_path / f"snippet_{number}.py" for number in range(len(snippets()))]
    for file, snippet in zip(files, snippets().values(), strict=True):
        file.write_text(snippet, "utf-8")
    cache = ("--cache-dir", str(CHECKOUT / ".mypy_cache" / "snippets"))
    said = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--strict", *cache, *map(str, files)],
        cwd=CHECKOUT,
        env={**os.environ, "MYPYPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Success: no issues found" in said.stdout, said.stdout + said.stderr
