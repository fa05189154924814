"""How long work that a process has leased is left alone by others.

The lengths are settings. Each connection carries them as parameters, so statements need no further argument.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from countersign.runtime.settings import LeaseSettings, Limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta


@lru_cache(maxsize=1)  # each of the dozen connections of a process asks
def parameters(settings: LeaseSettings) -> Mapping[str, str]:
    """Return the parameters that a connection to PostgreSQL is opened with."""
    return MappingProxyType({_parameter(name): _seconds(value) for name, value in _values(settings)})


def limits(settings: LeaseSettings) -> list[Limit]:
    """Return each lease with its source."""
    fields = LeaseSettings.model_fields
    return [
        Limit(f"leases.{name}", f"{value.total_seconds():g} s", fields[name].description or "")
        for name, value in _values(settings)
    ]


def _values(settings: LeaseSettings) -> Iterator[tuple[str, timedelta]]:
    for name in LeaseSettings.model_fields:
        yield name, getattr(settings, name)


def _parameter(name: str) -> str:
    return f"countersign.lease_{name}"


def _seconds(value: timedelta) -> str:
    return f"{value.total_seconds()} s"


def _sql(name: str) -> str:
    """Return the SQL of a lease's length: as the connection carries it, or the default for one that carries none."""
    default = _seconds(LeaseSettings.model_fields[name].default)
    return f"coalesce(nullif(current_setting('{_parameter(name)}', true), ''), '{default}')::interval"


OUTBOX = _sql("outbox")
DUE = _sql("due")
