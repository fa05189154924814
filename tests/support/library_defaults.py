"""What we know of the clients that we open: each argument, who sets it, and how long its default lets us wait."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Looked:
    """A duration that we leave at its default: how long that is, the limit it must stay under, and why that is enough.

    All in seconds, whatever the library counts in.
    """

    seconds: float
    below: float
    why: str


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A client. `ours` is passed at every call, `ours_in_a_group` at those that name a group; `rest` is no duration."""

    client: Callable[..., object]
    ours: frozenset[str]
    looked: Mapping[str, Looked]
    rest: frozenset[str]
    ours_in_a_group: frozenset[str] = frozenset()
    without: tuple[str, ...] = ()  # folders whose calls need not pass them


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KAFKA_REST = """loop bootstrap_servers client_id api_version security_protocol ssl_context sasl_mechanism
    sasl_plain_username sasl_plain_password sasl_kerberos_service_name sasl_kerberos_domain_name
    sasl_oauth_token_provider"""
_KAFKA_LOOKED = {
    "retry_backoff_ms": Looked(0.1, 1, "between tries; a log-in is given ten seconds"),
    "connections_max_idle_ms": Looked(540, 600, "brokers close idle connections after ten minutes themselves"),
}

REVIEWED = {
    "AIOKafkaConsumer": Reviewed(
        AIOKafkaConsumer,
        ours=_names("metadata_max_age_ms request_timeout_ms auto_offset_reset"),
        ours_in_a_group=_names(
            "session_timeout_ms heartbeat_interval_ms rebalance_timeout_ms max_poll_interval_ms fetch_max_wait_ms "
            "max_partition_fetch_bytes enable_auto_commit group_instance_id"
        ),
        looked=_KAFKA_LOOKED
        | {
            "auto_commit_interval_ms": Looked(5, 60, "off: we commit what is folded, once a second"),
            "consumer_timeout_ms": Looked(0.2, 0.5, "a look of the fetcher at itself"),
        },
        rest=_names(
            f"""{_KAFKA_REST} topics group_id key_deserializer value_deserializer fetch_max_bytes fetch_min_bytes
            check_crcs partition_assignment_strategy max_poll_records exclude_internal_topics isolation_level
            client_rack"""
        ),
    ),
    "AIOKafkaProducer": Reviewed(
        AIOKafkaProducer,
        ours=_names("metadata_max_age_ms request_timeout_ms enable_idempotence"),
        looked=_KAFKA_LOOKED
        | {
            "linger_ms": Looked(0, 0.01, "a record goes at once"),
            "transaction_timeout_ms": Looked(60, 61, "there are no transactions: no transactional_id is given"),
        },
        rest=_names(
            f"""{_KAFKA_REST} acks key_serializer value_serializer compression_type max_batch_size partitioner
            max_request_size transactional_id"""
        ),
    ),
    "AIOKafkaAdminClient": Reviewed(
        AIOKafkaAdminClient,
        ours=_names("metadata_max_age_ms request_timeout_ms"),
        looked=_KAFKA_LOOKED,
        rest=_names(_KAFKA_REST),
    ),
    "ClientSession": Reviewed(
        aiohttp.ClientSession,
        ours=_names("timeout"),
        looked={},
        rest=_names(
            """base_url connector loop cookies headers proxy proxy_auth skip_auto_headers auth json_serialize
            json_serialize_bytes request_class response_class ws_response_class version cookie_jar connector_owner
            raise_for_status read_timeout conn_timeout auto_decompress trust_env requote_redirect_url trace_configs
            read_bufsize max_line_size max_field_size max_headers fallback_charset_resolver middlewares
            ssl_shutdown_timeout"""
        ),
    ),
    "TCPConnector": Reviewed(
        aiohttp.TCPConnector,
        ours=frozenset(),
        looked={
            "ttl_dns_cache": Looked(10, 10.1, "an address that moves is followed in ten seconds"),
            "timeout_ceil_threshold": Looked(5, 5.1, "longer time-outs are rounded up to a whole second"),
            "happy_eyeballs_delay": Looked(0.25, 1, "until the next address of a host is tried as well"),
        },
        rest=_names(
            """verify_ssl fingerprint use_dns_cache dns_cache_max_size family ssl_context ssl local_addr resolver
            keepalive_timeout force_close limit limit_per_host enable_cleanup_closed loop interleave socket_factory
            ssl_shutdown_timeout"""
        ),
    ),
    "connect": Reviewed(
        asyncpg.connect,
        ours=_names("timeout command_timeout"),
        looked={
            "max_cached_statement_lifetime": Looked(
                300, 301, "how old a statement may be; its plan is renewed in 10 s"
            ),
        },
        rest=_names(
            """dsn host port user password passfile service servicefile database loop statement_cache_size
            max_cacheable_statement_size ssl direct_tls connection_class record_class server_settings
            target_session_attrs krbsrvname gsslib"""
        ),
        without=("deploy",),  # of a program that a person watches
    ),
    "ServingPool": Reviewed(
        asyncpg.create_pool,
        ours=_names(
            """timeout command_timeout target_session_attrs min_size max_size max_queries
            max_inactive_connection_lifetime setup reset"""
        ),
        looked={},
        rest=_names("dsn init_size connect init loop connection_class record_class connect_kwargs"),
    ),
    "AioConfig": Reviewed(
        lambda **_options: None,
        ours=_names("connect_timeout read_timeout retries max_pool_connections"),
        looked={},
        rest=frozenset(Config.OPTION_DEFAULTS) | {"_options"},
    ),
}

# Durations of a library that are no argument of a call of ours, and so do not show above.
HIDDEN = {
    "asyncpg: connect": (lambda: inspect.signature(asyncpg.connect).parameters["timeout"].default, 60),
    "aiohttp: DEFAULT_TIMEOUT.total": (lambda: aiohttp.client.DEFAULT_TIMEOUT.total, 300),
    "aiohttp: DEFAULT_TIMEOUT.sock_connect": (lambda: aiohttp.client.DEFAULT_TIMEOUT.sock_connect, 30),
    "aiohttp: ClientTimeout.ceil_threshold": (lambda: aiohttp.ClientTimeout().ceil_threshold, 5),
    "botocore: connect_timeout": (lambda: Config.OPTION_DEFAULTS["connect_timeout"], 60),
    "botocore: read_timeout": (lambda: Config.OPTION_DEFAULTS["read_timeout"], 60),
    "botocore: number of options": (lambda: len(Config.OPTION_DEFAULTS), 29),
}


def seconds_of(name: str, default: object) -> float | None:
    """Return a default as seconds; the name says what a library counts in. None if it is no number."""
    if not isinstance(default, int | float) or isinstance(default, bool):
        return None
    return default / 1000 if name.endswith("_ms") else float(default)


def calls(root: Path, *folders: str) -> Iterator[tuple[str, str, int, frozenset[str]]]:
    """Yield client, file, line and keywords of each place that opens a reviewed client."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and (name := _called(node)) in REVIEWED:
                    keywords = frozenset(keyword.arg for keyword in node.keywords if keyword.arg)
                    yield name, str(path.relative_to(root)), node.lineno, keywords


def _called(call: ast.Call) -> str:
    """Return the client's name, with its module where the name alone says too little."""
    match call.func:
        case ast.Name(id=name) if name != "connect":
            return name
        case ast.Attribute(value=ast.Name(id="asyncpg"), attr="connect" as name):
            return name
        case ast.Attribute(attr=name) if name != "connect":
            return name
    return ""
