"""Who wrote a record, as a metric may name them."""

from __future__ import annotations

import re

# Ours: a label's values must be few, and anybody who may write to a topic chooses their own ce_source.
SOURCES_MAX = 20
OTHER, ABSENT = "other", "absent"
_SOURCE = re.compile(r"[!-~]{1,60}")


class Sources:
    """The first few values of ce_source that a process met; whatever comes after them is `other`."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def name(self, header: bytes | None) -> str:
        """Return a record's source, `other` for one beyond the first few or of an odd form, `absent` for none."""
        source = (header or b"").decode(errors="replace")
        if not source:
            return ABSENT
        if source in self._known:
            return source
        if len(self._known) >= SOURCES_MAX or not _SOURCE.fullmatch(source):
            return OTHER
        self._known.add(source)
        return source
