"""What other systems import, and the example they read first."""

from __future__ import annotations

import ast
import textwrap

from countersign import client


def test_the_example_uses_what_there_is() -> None:
    """It is Python, and every capitalised name and function of ours in it can be imported."""
    assert client.__doc__ is not None
    _, _, example = client.__doc__.partition("\n\n")
    tree = ast.parse(textwrap.dedent(example))
    called = {call.func.id for call in ast.walk(tree) if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)}
    assert called == {
        "AccessRequests",
        "Challenges",
        "Client",
        "Decisions",
        "Expected",
        "Grants",
        "ProducerSettings",
        "login_authorised",
    }
    assert called <= set(client.__all__)


def test_the_face_is_what_it_says() -> None:
    """Every name of `__all__` is there, in order."""
    assert sorted(client.__all__, key=lambda name: (name != name.upper(), name[0].islower(), name)) == client.__all__
    assert all(hasattr(client, name) for name in client.__all__)
