"""What other systems import, and the example they read first."""

from __future__ import annotations

import ast

from countersign import client


def test_the_example_uses_what_there_is() -> None:
    """It is Python, and what it imports is of the face; tests/stack runs it."""
    assert client.__doc__ is not None
    _, _, example = client.__doc__.partition("\n\n")
    imported = {
        name.name
        for node in ast.walk(ast.parse(example))
        if isinstance(node, ast.ImportFrom) and node.module == "countersign.client"
        for name in node.names
    }
    assert "AccessRequests" in imported
    assert imported <= set(client.__all__)


def test_the_face_is_what_it_says() -> None:
    """Every name of `__all__` is there, in order."""
    assert sorted(client.__all__, key=lambda name: (name != name.upper(), name[0].islower(), name)) == client.__all__
    assert all(hasattr(client, name) for name in client.__all__)
