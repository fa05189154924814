"""What the services' own checks said, put together."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from countersign.runtime.program.unread_settings import PREFIX, unread_finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from countersign.runtime.checkup import Finding

_NEAREST = re.compile(rf"set ({PREFIX}\S+) if")


@dataclass(frozen=True, slots=True)
class Told:
    """What a service's check found, and the names of the environment variables that it was given."""

    service: str
    variables: frozenset[str]
    findings: Sequence[Finding]


def merged(told: Sequence[Told]) -> list[Finding]:
    """Return all findings under the name of their service, but a variable that nobody reads only once.

    One that a service does not read is no finding if another one, in whose environment it is too, reads it.
    """
    found = [
        replace(finding, subject=f"{one.service}, {finding.subject}")
        for one in told
        for finding in one.findings
        if not finding.subject.upper().startswith(PREFIX)
    ]
    return [*found, *_unread(told)]


def _unread(told: Sequence[Told]) -> Iterator[Finding]:
    by_name: dict[str, dict[str, Finding]] = {}
    for one in told:
        for finding in one.findings:
            if finding.subject.upper().startswith(PREFIX):
                by_name.setdefault(finding.subject, {})[one.service] = finding
    for name, findings in sorted(by_name.items()):
        given = {one.service for one in told if name in one.variables}
        if given <= findings.keys():
            near = next((match[1] for each in findings.values() if (match := _NEAREST.search(each.todo or ""))), None)
            yield unread_finding(name, near, sorted(given))
