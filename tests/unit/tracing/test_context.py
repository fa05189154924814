"""Whom a traceparent names, and the ids of what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.client.requests import traceparent_of
from countersign.contract import AccessRequested
from countersign.runtime.tracing.collecting import REQUESTS_TOPIC
from countersign.runtime.tracing.context import Context, context_of

if TYPE_CHECKING:
    from uuid import UUID

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "traceparent",
    [
        None,
        "",
        "none",
        f"00-{TRACE}-{SPAN}-00",
        f"00-{TRACE}-{SPAN}-02",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
    ],
)
def test_what_names_no_sampled_span_has_no_place(traceparent: str | None) -> None:
    """W3C Trace Context, 3.2.2.3 and 3.2.2.5: whoever is not asked to record a trace makes no span of it."""
    assert context_of(traceparent) is None


@pytest.mark.parametrize("flags", ["01", "03"])
@pytest.mark.parametrize("version", ["00", "01"])
def test_a_sampled_span_has_its_place(version: str, flags: str) -> None:
    """Later versions and flags that this one does not know are read as far as they are known."""
    assert context_of(f"{version}-{TRACE}-{SPAN}-{flags}") == Context(TRACE, SPAN)


@given(st.uuids(version=4), st.lists(st.text(max_size=5), max_size=3), st.lists(st.text(max_size=5), max_size=3))
def test_what_follows_is_the_same_span_each_time_and_another_for_another_thing(
    request_id: UUID, one: list[str], other: list[str]
) -> None:
    """A record that is folded or published again names the same span, byte for byte."""
    began = context_of(traceparent_of(request_id))
    assert began is not None
    assert began.begins_trace
    follows = began.below(*one)
    assert context_of(follows.traceparent) == follows == began.below(*one)
    assert follows.trace_id == began.trace_id == request_id.hex
    assert not follows.begins_trace
    assert (follows == began.below(*other)) == (one == other)


def test_the_topic_on_which_traces_begin_is_that_of_requests() -> None:
    """The runtime knows no contract, and names the topic itself."""
    assert AccessRequested.topic == REQUESTS_TOPIC
