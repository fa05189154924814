"""A part of a running stack, frozen for a while: it is away, and nothing of it is lost."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.whole_stack import WholeStack


@contextmanager
def frozen(whole: WholeStack, name: str) -> Iterator[None]:
    """Freeze a process of the stack, by its name in stack.env."""
    pid = int(whole[f"PID_{name}"])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
