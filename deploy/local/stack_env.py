"""`stack.env`: what a running stack tells other programs, one NAME=value a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploy.local import postgres, principals, secret_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from deploy.local.layout import Layout

# The second of a kind has its number behind the word; the first managed user is the one that is meant most.
_WORD_OF = {
    "OWNER": "OWNER",
    "MANAGED_1": "MANAGED",
    "MANAGED_2": "MANAGED2",
    "MANAGER": "MANAGER",
    "MANAGER2": "MANAGER2",
}


def of_servers(layout: Layout, superuser_password: str, pids: Mapping[str, int]) -> dict[str, str]:
    """Return the part about Kafka, PostgreSQL and SNS, enough for tests to use them."""
    superuser = postgres.dsn(layout.port("postgres"), superuser_password)
    return {
        **principals.names_of(layout, principals.TEST),
        "POSTGRES_DSN": superuser,
        "OPERATOR_CONTEXT": "local",
        "OPERATOR_DSN": postgres.dsn_of(postgres.OPERATOR, superuser),
        "SNS_URL": layout.url("sns"),
        "SECRETS_DIR": str(layout.secrets),
        **{f"PID_{name.upper()}": str(pid) for name, pid in pids.items()},
    }


def of_services(layout: Layout, secrets: secret_files.Secrets, seed: Mapping[str, Any]) -> dict[str, str]:
    """Return the part about the services and the demonstration."""
    found = {
        "GATEWAY_URL": layout.url("gateway"),
        "CONSOLE_URL": layout.url("console"),
        "VERIFIER_URL": layout.url("verifier"),
        "ENROLMENT_URL": layout.url("enrolment"),
        "EXPORTS_URL": layout.url("exports"),
        **{f"{name.upper()}_HEALTH_URL": layout.url(f"{name} health") for name in postgres.ROLES},
        "SERVICE_TOKEN": secret_files.bearer_of(secrets),
        "DEMO_ACCOUNT_ID": seed["account_id"],
        "DEMO_LIST_ID": seed["lists"][0]["list_id"],
    }
    for person in seed["people"]:
        word = _WORD_OF[person["key"]]
        found[f"DEMO_{word}_ID"] = person["user_id"]
        found |= {f"DEMO_{word}_{what.upper()}": person[what] for what in ("email", "password", "number")}
    return found


def write(path: Path, content: Mapping[str, str]) -> None:
    """Write the file by rename, for its owner alone: it holds passwords."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text("".join(f"{name}={value}\n" for name, value in content.items()))
    new.rename(path)


def read(path: Path) -> dict[str, str] | None:
    """Return what the file says, or None if no stack runs there."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return None
    return {name: value for name, _, value in (line.partition("=") for line in lines)}
