"""Writes `schemas/` from the models: `python -m countersign.contract.schemas`, or `--check` to see what differs.

`topics/` and `README.md` are written by people; `json/`, `examples/` and `asyncapi.yaml` are made here.
`--release` makes today's JSON Schemas the baseline that later changes are compared with.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

import yaml

from countersign.contract.asyncapi import document
from countersign.contract.example_keys import jwks
from countersign.contract.examples import all_examples
from countersign.contract.json_schema import schema_of
from countersign.contract.topic_files import schemas_folder, topic_files
from countersign.contract.topics import EVENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from countersign.contract.example_story import Example

_MADE = ("json", "examples", "asyncapi.yaml")
_BASELINE = "baseline"


def made() -> dict[str, str]:
    """Return the text of every file that is made from the models, by its path below `schemas/`."""
    files = {f"json/{model.ce_type}.json": _json(schema_of(model)) for model in EVENTS}
    examples = all_examples()
    for example in examples:
        files |= _example_files(example)
    files["examples/jwks.json"] = _json(jwks())
    shown = {
        model.ce_type: [_shown(each) for each in examples if each.event.ce_type == model.ce_type] for model in EVENTS
    }
    files["asyncapi.yaml"] = _yaml(document(topic_files(), shown))
    return files


def differences(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Return a sentence per file below `folder` that is missing, different, or made by nothing any more."""
    found = []
    for name, text in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            found.append(f"{name}: is missing")
        elif path.read_text("utf-8") != text:
            found.append(f"{name}: differs from the models")
    found += [f"{name}: nothing makes it any more" for name in sorted(_present(folder, _MADE) - files.keys())]
    return found


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Make the files below `folder`, and remove made ones that have no model any more."""
    for name in _present(folder, _MADE) - files.keys():
        (folder / name).unlink()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


def release(folder: Path, files: Mapping[str, str]) -> None:
    """Make today's JSON Schemas the baseline."""
    schemas = {name.removeprefix("json/"): text for name, text in files.items() if name.startswith("json/")}
    for name in _present(folder / _BASELINE, (".",)) - schemas.keys():
        (folder / _BASELINE / name).unlink()
    write(folder / _BASELINE, schemas)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 if `--check` found a difference."""
    parser = argparse.ArgumentParser(prog="python -m countersign.contract.schemas", description=__doc__)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--check", action="store_true", help="write nothing; say what differs from the models")
    group.add_argument("--release", action="store_true", help="make today's JSON Schemas the baseline as well")
    chosen = parser.parse_args(arguments)
    folder, files = schemas_folder(), made()
    if chosen.check:
        found = differences(folder, files)
        sys.stdout.writelines(f"schemas/{line}\n" for line in found)
        if found:
            sys.stdout.write("Run `make schemas` and look at the difference.\n")
        return 1 if found else 0
    write(folder, files)
    if chosen.release:
        release(folder, files)
    return 0


def _present(folder: Path, names: Sequence[str]) -> set[str]:
    paths = [path for name in names for path in ((folder / name), *(folder / name).rglob("*"))]
    return {path.relative_to(folder).as_posix() for path in paths if path.is_file()}


def _example_files(example: Example) -> dict[str, str]:
    stem = f"examples/{example.event.ce_type}/{example.name}"
    shown = _shown(example)
    files = {f"{stem}.json": _json(shown["payload"]), f"{stem}.headers.json": _json(shown["headers"])}
    if example.authorises is not None:
        files[f"{stem}.authorises.json"] = _json(example.authorises)
    return files


def _shown(example: Example) -> dict[str, Any]:
    record = example.record()
    headers = {name: value.decode() for name, value in record.headers}
    return {"name": example.name, "headers": headers, "payload": json.loads(record.value)}


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


class _Plain(yaml.SafeDumper):
    """Writes every value out: readers of the document need not follow anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


def _lines(dumper: _Plain, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Plain.add_representer(str, _lines)


def _yaml(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Plain, sort_keys=False, width=110, allow_unicode=True)
    return "# Made by `make schemas` from the models and schemas/topics. Do not edit.\n" + text


if __name__ == "__main__":
    sys.exit(main())
