"""What an outcome of a fold leads to, as the service itself says it: a replay plans by it and stops by it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effect:
    """The name of an effect, as a plan counts it. `forbidden`: a replay never causes it, whatever a plan says.

    Forbidden is what reaches people or gives somebody something, here or in a service further on.
    """

    name: str
    forbidden: bool = False
