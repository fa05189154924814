"""W3C trace contexts, and the ids of spans that follow from what a span is about: a repeat has the same id."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")  # W3C, 3.2
_SPAN_BYTES = 8
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True)
class Context:
    """A span's place: its trace and its own id, in hexadecimal."""

    trace_id: str
    span_id: str

    @property
    def traceparent(self) -> str:
        """Return what a record or a call carries that this span causes. Only sampled contexts are made."""
        return f"00-{self.trace_id}-{self.span_id}-{_SAMPLED:02x}"

    @property
    def begins_trace(self) -> bool:
        """Return True for the context that the client library gives to a request that came without one.

        Its trace id is the request's id, and its span id the second half of that (ARCHITECTURE.md, decision 74).
        """
        return self.trace_id.endswith(self.span_id)

    def below(self, *what: str) -> Context:
        """Return the place of the span below this one that is about `what`: always the same one."""
        told = "\x00".join((self.trace_id, self.span_id, *what))
        digest = hashlib.sha256(told.encode()).hexdigest()[: 2 * _SPAN_BYTES]
        return Context(self.trace_id, digest if int(digest, 16) else f"{1:0{2 * _SPAN_BYTES}x}")


def context_of(traceparent: str | None) -> Context | None:
    """Return the place that a traceparent names; None if it is none, or if its trace is not sampled."""
    found = _TRACEPARENT.match(traceparent or "")
    if found is None:
        return None
    trace_id, span_id, flags = found.groups()
    if not int(trace_id, 16) or not int(span_id, 16) or not int(flags, 16) & _SAMPLED:
        return None
    return Context(trace_id, span_id)
