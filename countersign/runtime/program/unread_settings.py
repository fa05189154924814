"""Settings that nobody reads: a name with a mistake in it is not refused, it is passed over."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel

from countersign.runtime.checkup import Finding, warning
from countersign.runtime.settings import SECRETS_FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

PREFIX = "COUNTERSIGN_"
# Read by the start of a service, and by `countersign replay shadow`.
OTHERS_READ = frozenset({SECRETS_FILE, "COUNTERSIGN_PRICE_PER_TEXT"})
_BETWEEN = "__"
_LIKENESS_MIN = 0.6  # difflib's own default


def setting_names(model: type[BaseModel], prefix: str = PREFIX) -> Iterator[str]:
    """Yield the environment variables that a settings class reads: whole parts, and each field of a part.

    A name that ends in `__` stands for all that begin with it: entries of a field whose entries have any names.
    """
    for name, field in model.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        yield variable
        if getattr(field.annotation, "__origin__", None) is dict:
            yield f"{variable}{_BETWEEN}"
        for part in _parts(field.annotation):
            yield from setting_names(part, f"{variable}{_BETWEEN}")


def _parts(annotation: object) -> list[type[BaseModel]]:
    """Return the models that a value may be: `Part` and `Part | None`, not the items of a list, which are JSON."""
    candidates = (
        annotation,
        *(() if getattr(annotation, "__origin__", None) in {list, tuple, dict} else get_args(annotation)),
    )
    return [each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)]


def unread(environment: Collection[str], known: Collection[str]) -> dict[str, str | None]:
    """Return the variables COUNTERSIGN_… that are not known, each with the known name that is nearest, if one is near.

    Upper and lower case are the same, as pydantic-settings has it.
    """
    found = {name for name in environment if name.upper().startswith(PREFIX)}
    open_ended = tuple(name for name in known if name.endswith(_BETWEEN))
    read = {*known, *OTHERS_READ}
    passed_over = [
        name for name in sorted(found) if name.upper() not in read and not name.upper().startswith(open_ended)
    ]
    return {name: _nearest(name.upper(), [each for each in known if each not in open_ended]) for name in passed_over}


def _nearest(name: str, known: Collection[str]) -> str | None:
    """Return the known name that differs in underscores, or whose parts are like those of `name`.

    Where only the first part is, that one with `__…`.
    """
    squeezed = {each.replace(_BETWEEN, "_"): each for each in sorted(known, reverse=True)}
    if meant := squeezed.get(name.replace(_BETWEEN, "_")):
        return meant
    head, *rest = name.removeprefix(PREFIX).split(_BETWEEN)
    parts = [each.removeprefix(PREFIX).split(_BETWEEN) for each in sorted(known)]
    heads = get_close_matches(head, {each[0] for each in parts}, n=1, cutoff=_LIKENESS_MIN)
    if not heads:
        return None
    if not rest:
        return f"{PREFIX}{heads[0]}"
    below = [_BETWEEN.join(each[1:]) for each in parts if each[0] == heads[0] and len(each) > 1]
    near = get_close_matches(_BETWEEN.join(rest), below, n=1, cutoff=_LIKENESS_MIN)
    return f"{PREFIX}{heads[0]}{_BETWEEN}{near[0] if near else '…'}" if below else f"{PREFIX}{heads[0]}"


def unread_findings(
    service: str, settings: type[BaseModel], environment: Mapping[str, str], secrets: Path | None
) -> list[Finding]:
    """Return a warning for each variable, and each name in the secrets file, that the service does not read."""
    known = frozenset(setting_names(settings))
    found = [unread_finding(name, near, [service]) for name, near in unread(environment, known).items()]
    if secrets is None:
        return found
    inside = {f"{PREFIX}{name.upper()}": name for name in _names_in(secrets)}
    for variable, near in unread(inside, known).items():
        meant = "" if near is None else f"; {near.removeprefix(PREFIX).lower()} is the nearest name"
        todo = f"correct the name or take it out{meant}"
        found.append(
            warning(str(secrets), f"{inside[variable]} in it is no setting of {service}: nobody reads it", todo)
        )
    return found


def unread_finding(name: str, near: str | None, services: Collection[str]) -> Finding:
    """Return the warning for a variable that none of these services reads. Its subject is the variable's name."""
    who = ", ".join(sorted(services))
    meant = f"set {near} if that is meant, or unset {name}" if near else f"unset {name}"
    return warning(name, f"is set and is no setting of {who}: nobody reads it", meant)


def _names_in(secrets: Path) -> list[str]:
    try:
        content = json.loads(secrets.read_bytes())
    except (OSError, ValueError):
        return []  # the settings class has said so
    return sorted(content) if isinstance(content, dict) else []
