"""What folds, routes and due work of one process hold together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.verifier.grants import Signer
    from services.verifier.issue import Issuer
    from services.verifier.journal import Journal
    from services.verifier.waiters import Waiters


@dataclass(frozen=True, slots=True)
class Desk:
    """Who signs, who issues texts, who is woken, and where it is told."""

    signer: Signer
    issuer: Issuer
    waiters: Waiters
    journal: Journal

    def refresh(self) -> None:
        """Take in keys that were installed since."""
        self.signer.refresh()
        self.issuer.refresh()
