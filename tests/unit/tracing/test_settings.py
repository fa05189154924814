"""The settings of traces: off unless set, never in plain text beyond this machine, and nothing secret is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from countersign.runtime.messages.findings import findings
from countersign.runtime.program.limits import runtime_limits
from countersign.runtime.program.unread_settings import setting_names
from countersign.runtime.settings import SECRETS_FILE, ServiceSettings, TraceSettings

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "Bearer very-secret"


def _settings(**over: Any) -> ServiceSettings:
    return ServiceSettings(
        **{
            "postgres": {"dsn": "postgresql://countersign@localhost/countersign"},
            "kafka": {"bootstrap_servers": "localhost:9092"},
            **over,
        }
    )


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("https://collector.example/", "https://collector.example/v1/traces"),
        ("https://collector.example/v1/traces", "https://collector.example/v1/traces"),
        ("https://collector.example/otlp/v1/traces", "https://collector.example/otlp/v1/traces"),
    ],
)
def test_an_address_without_a_path_gets_that_of_otlp(endpoint: str, url: str) -> None:
    """OpenTelemetry Protocol Exporter, OTLP/HTTP: the path of traces is /v1/traces."""
    assert _settings(traces={"endpoint": endpoint}).traces.url == url
    assert _settings().traces.url is None


def test_plain_text_to_another_machine_is_refused_at_the_start() -> None:
    """As for every other address; a network of containers is the exception that says so."""
    with pytest.raises(ValidationError) as refused:
        _settings(traces={"endpoint": "http://collector.example:4318"})
    assert "traces.endpoint: https" in "; ".join(findings(refused.value))
    assert _settings(traces={"endpoint": "http://collector:4318"}, plain_text_in_a_network_of_our_own=True).traces.url


@pytest.mark.parametrize(
    "traces",
    [
        {"endpoint": "https://me:very-secret@collector.example"},
        {"endpoint": "https://collector.example/v1/traces?key=very-secret"},
        {"endpoint": "ftp://collector.example"},
        {"headers": {"Authorization": "very-secret\r\nX: y"}},
        {"headers": {"Author ization": "very-secret"}},
        {"headers": {"Authorization": ""}},
        {"endpoint": "https://collector.example", "token": "very-secret"},
    ],
)
def test_what_cannot_be_right_is_refused_without_a_secret_in_the_words(traces: dict[str, Any]) -> None:
    """Secrets go into headers, and those are such as HTTP allows."""
    with pytest.raises(ValidationError) as refused:
        _settings(traces=traces)
    assert "very-secret" not in "; ".join(findings(refused.value))
    assert "very-secret" not in str(refused.value)


def test_headers_come_from_the_secrets_file_and_are_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address from the environment, what is secret from the file: together one part."""
    path = tmp_path / "secrets.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"traces": {"headers": {"Authorization": SECRET}}}))
    monkeypatch.setenv(SECRETS_FILE, str(path))
    monkeypatch.setenv("COUNTERSIGN_TRACES__ENDPOINT", "https://collector.example")
    settings = _settings()
    assert settings.traces.headers["Authorization"].get_secret_value() == SECRET
    assert settings.traces.url == "https://collector.example/v1/traces"
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_each_setting_is_read_and_each_limit_is_printed() -> None:
    """A name with a mistake in it is warned of, and `limits` shows what holds."""
    names = {f"COUNTERSIGN_TRACES__{name.upper()}" for name in TraceSettings.model_fields}
    assert names <= set(setting_names(ServiceSettings))
    off = {limit.name: limit.value for limit in runtime_limits(_settings())}
    on = {limit.name: limit.value for limit in runtime_limits(_settings(traces={"endpoint": "http://localhost:4318"}))}
    assert (off["traces.queue_spans_max"], on["traces.queue_spans_max"]) == ("off", "8192")
    assert on["traces.stop_seconds_max"] == "2 s"


_LOADS = """
import asyncio, sys
from importlib import import_module
import structlog
from countersign.runtime.settings import TraceSettings
from countersign.runtime.tracing.opening import tracing
from countersign.runtime.watching.metrics import Metrics
for name in ("enrolment", "exports", "gateway", "notifier", "risk_evaluator", "verifier"):
    import_module(f"services.{name}.wiring")
    import_module(f"services.{name}.__main__")
import_module("countersign.cli")
async def run():
    async with tracing("toy", "0", TraceSettings(endpoint=sys.argv[1] or None), Metrics(), structlog.get_logger()):
        pass
asyncio.run(run())
print(sorted({name.partition(".")[0] for name in sys.modules} & {"opentelemetry", "google"}))
"""


@pytest.mark.parametrize(("endpoint", "loaded"), [("", []), ("http://127.0.0.1:9", ["google", "opentelemetry"])])
def test_nothing_of_opentelemetry_is_loaded_unless_a_collector_is_set(endpoint: str, loaded: list[str]) -> None:
    """In a process of its own: all services, the command line, and a tracer."""
    done = subprocess.run(
        [sys.executable, "-c", _LOADS, endpoint], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == str(loaded)
