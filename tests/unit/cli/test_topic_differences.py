"""What differs between the topics' files and a cluster, and what of it is left alone."""

from __future__ import annotations

import pytest

from countersign.contract.topic_files import topic_files
from countersign.operations.topics import Difference, Present, differences

FILES = topic_files()
FILE = next(file for file in FILES if file.topic == "access.requests.v1")
WEEK = FILE.config["retention.ms"]


def found(partitions: int = FILE.partitions, *, allow_rekey: bool = False, **config: str) -> list[Difference]:
    """Return the differences to a cluster on which one topic has other settings; `__` in a name is a dot."""
    changed = {**FILE.config, **{name.replace("__", "."): value for name, value in config.items()}}
    return differences([FILE], {FILE.topic: Present(partitions, changed, {})}, allow_rekey=allow_rekey)


def test_a_cluster_that_is_as_the_files_say_has_none() -> None:
    """Of every topic."""
    assert differences(FILES, {file.topic: Present(file.partitions, file.config, {}) for file in FILES}) == []


def test_every_topic_is_missing_on_an_empty_cluster() -> None:
    """And is one difference each, with the service that owns it."""
    missing = differences(FILES, {})
    assert [(each.kind, each.topic, each.left) for each in missing] == [("topic", f.topic, None) for f in FILES]
    assert {each.owner for each in missing} == {file.owner for file in FILES}


@pytest.mark.parametrize(
    ("name", "now", "changed"),
    [
        ("message__timestamp__type", "CreateTime", True),
        ("compression__type", "lz4", True),
        ("retention__ms", "86400000", True),
        ("retention__ms", "2592000000", False),
        ("retention__ms", "-1", False),
        ("cleanup__policy", "compact", False),
    ],
    ids=["timestamps", "compression", "kept_longer", "kept_shorter", "no_longer_for_ever", "policy"],
)
def test_a_setting_is_changed_unless_something_would_be_lost(name: str, now: str, changed: bool) -> None:
    """What would remove records is shown, and left alone."""
    (one,) = found(**{name: now})
    assert (one.kind, one.name, one.now) == ("config", name.replace("__", "."), now)
    assert (one.left is None) is changed


@pytest.mark.parametrize(
    ("partitions", "allow_rekey", "changed", "words"),
    [
        (FILE.partitions - 1, False, False, "keys move to other partitions"),
        (FILE.partitions - 1, True, True, ""),
        (FILE.partitions + 1, True, False, "never removed"),
    ],
    ids=["more", "more_allowed", "fewer"],
)
def test_partitions_are_added_on_request_and_never_removed(
    partitions: int, allow_rekey: bool, changed: bool, words: str
) -> None:
    """As the order of an account's records is lost."""
    (one,) = found(partitions, allow_rekey=allow_rekey)
    assert (one.kind, one.now, one.wanted) == ("partitions", str(partitions), str(FILE.partitions))
    assert (one.left is None) is changed
    assert words in (one.left or "")
