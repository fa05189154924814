"""Structured logs: one JSON object a line, facts with fields, and nothing that must not be read there."""

from __future__ import annotations

import json
import logging
import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError
from pydantic import SecretBytes, SecretStr

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

MASK = "[masked]"
_NAMES = re.compile(
    r"(^|_)(code|number|e164|phone|grant|session|token|bearer|authorization|cookie|password|secret|pepper|sealed|dsn)($|_)",
    re.IGNORECASE,
)
# Names that merely speak of such a thing.
_HARMLESS = re.compile(r"(_id|_ids|_state|_hint|_count|_max|_kind|_ring|_seconds|_bytes)$", re.IGNORECASE)
_VALUES = re.compile(
    r"(?P<number>\+[1-9]\d{6,14})(?!\d)"  # E.164
    r"|(?P<jws>\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*)"
    r"|(?P<bearer>(?i:bearer)\s+\S+)"
    r"|(?P<dsn>(?<=://)[^\s/@:]+:[^\s/@]+(?=@))"
    r"|(?P<code>(?:^|(?<=[\s#:=\"']))\d{6,8}(?=$|[\s.,;\"']))"
)
# Words of ours, small numbers and UUIDs, most of what is logged: nothing that _VALUES masks looks like them.
_PLAIN = re.compile(r"[a-z_]+(\.[a-z_]+)*|[0-9]{1,5}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# These print messages and numbers at DEBUG, or every connection.
_NOISY = ("botocore", "aiobotocore", "boto3", "urllib3", "aiokafka", "asyncio", "aiohttp.access", "s3transfer")


def configure(service: str, instance: str, level: str) -> structlog.typing.FilteringBoundLogger:
    """Set up logging for the process: to stdout, the standard library's loggers included."""
    shared: list[Any] = [
        structlog.processors.format_exc_info,
        redact,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(_written)],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact,
                structlog.processors.JSONRenderer(_written),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("aiohttp.server").filters[:] = [unquoted]
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(service=service, instance=instance)
    return log


def unquoted(record: logging.LogRecord) -> bool:
    """Let the record pass without the bytes that could not be read, which aiohttp puts into its errors.

    A cookie, a bearer or a password may stand there, in no form that a mask would know.
    """
    error = record.exc_info[1] if record.exc_info else None
    while error is not None:
        if isinstance(error, HttpProcessingError | RequestPayloadError):
            record.msg, record.args = "a request could not be read: %s", (type(error).__name__,)
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            break
        error = error.__cause__ or error.__context__
    return True


def _written(event: Mapping[str, Any], **_: object) -> str:
    """Return the line. What orjson does not write, such as a lone surrogate, the standard library does."""
    try:
        return orjson.dumps(event, default=repr).decode()
    except orjson.JSONEncodeError:
        return json.dumps(event, default=repr)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask fields by their names, and in every text what looks like a number, a code, a grant or a bearer."""
    for name, value in event.items():
        if not _is_plain(value) or _is_secret(name):
            event[name] = _masked(name, value)
    return event


def _is_plain(value: object) -> bool:
    return type(value) is str and _PLAIN.fullmatch(value) is not None


def _masked(name: str, value: object) -> object:
    if name in {"timestamp", "level", "event_id"} or isinstance(value, bool | int | float | None):
        return MASK if _is_secret(name) and not isinstance(value, bool | None) else value
    if isinstance(value, SecretStr | SecretBytes) or _is_secret(name):
        return MASK
    if isinstance(value, dict):
        return {key: _masked(str(key), part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [part if _is_plain(part) else _masked("", part) for part in value]
    return _VALUES.sub(MASK, value if isinstance(value, str) else str(value))


@lru_cache(1024)
def _is_secret(name: str) -> bool:
    return bool(_NAMES.search(name)) and not _HARMLESS.search(name)
