"""What schemas/README.md tells a gateway's developer is so."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from countersign import client
from countersign.contract import AccessRequested, canonical, digest_of, examples, reader, req_of
from countersign.contract.topic_files import schemas_folder
from countersign.runtime.messages.record import Record

README = (schemas_folder() / "README.md").read_text("utf-8")
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def test_the_value_and_the_headers_make_a_record_that_is_read() -> None:
    """Copied from the text as they stand; the headers as kcat would send them."""
    value = re.search(r"```json\n(.+?)```", README, re.DOTALL)
    assert value is not None
    sent = dict(re.findall(r'-H "?([a-z_-]+)=([^\s"]+)', README)) | {"ce_time": NOON.isoformat()}
    key = re.search(r" -k (\S+)", README)
    assert key is not None
    headers = tuple((name, text.encode()) for name, text in sent.items())
    record = Record("access.requests.v1", 0, 0, key.group(1).encode(), value.group(1).encode(), headers, NOON)
    incoming = reader(AccessRequested)(record)
    assert incoming is not None
    assert incoming.event.record_key() == key.group(1)
    secret = "the secret of this browser's session before the login"
    assert incoming.event.digest == client.login_digest(examples.LOGIN, examples.OWNER, secret)


def by_hand() -> list[tuple[str, str]]:
    """Return each text that is digested with openssl and the line of what comes out."""
    found = re.findall(r"^printf '%s' (.+?) \| openssl.*\n# (\S+)$", README, re.MULTILINE)
    return [(text.strip("'\""), result) for text, result in found]


@pytest.mark.parametrize(("text", "result"), by_hand())
def test_the_digests_by_hand_are_right(text: str, result: str) -> None:
    """And the JSON among them is canonical."""
    if text.startswith("{"):
        assert canonical(json.loads(text)).decode() == text
        assert digest_of(json.loads(text)) == result
    else:
        login = examples.login_authorises(examples.LOGIN, examples.OWNER, text)
        assert login["session"] == result


def test_there_are_digests_by_hand() -> None:
    """Two with openssl and one in a sentence."""
    assert len(by_hand()) == 2
    text, digest = re.findall(r"`(\{\S+\})` has the digest\n`(\S+)`", README)[0]
    assert digest_of(json.loads(text)) == digest


def test_req_by_hand_is_right() -> None:
    """Of the very file that the text names."""
    found = re.search(r"-binary login\.json \| b64url +# (\S+)\n# (\S+)\n", README)
    assert found is not None
    assert found[2] == req_of((schemas_folder() / found[1]).read_bytes())


def test_the_files_it_names_are_there() -> None:
    """Linked ones and those in the table."""
    named = re.findall(r"\]\((\S+?)\)", README) + re.findall(r"^\| `(\S+?)` \|", README, re.MULTILINE)
    files = [name for name in named if "/" in name or "." in name]
    assert "topics/" in files
    missing = [name for name in files if not (schemas_folder() / name).exists()]
    assert missing == [name for name in named if name.startswith("countersign.")]
