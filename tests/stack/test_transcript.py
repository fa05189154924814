"""What `make run` shows, and what it tells other programs."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

import aiohttp

from deploy.local.stack import stage_of
from deploy.local.transcript import perform

if TYPE_CHECKING:
    from tests.support.stack import RunningStack

_PEOPLE = ("OWNER", "MANAGED", "MANAGED2", "MANAGER", "MANAGER2")
_SERVICES = ("GATEWAY", "VERIFIER", "ENROLMENT", "EXPORTS", "RISK_EVALUATOR", "NOTIFIER")
_NAMES = {
    *(
        *(f"KAFKA_{name}" for name in ("BOOTSTRAP_SERVERS", "SECURITY_PROTOCOL", "SASL_MECHANISM")),
        *("KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD", "KAFKA_CA"),
        "POSTGRES_DSN",
        "OPERATOR_CONTEXT",
        "OPERATOR_DSN",
        "SNS_URL",
        "GATEWAY_URL",
        "CONSOLE_URL",
        "VERIFIER_URL",
    ),
    *("ENROLMENT_URL", "EXPORTS_URL", "SERVICE_TOKEN", "DEMO_ACCOUNT_ID", "DEMO_LIST_ID", "SECRETS_DIR"),
    *(f"DEMO_{person}_{what}" for person in _PEOPLE for what in ("ID", "EMAIL", "PASSWORD", "NUMBER")),
    *(f"PID_{name}" for name in _SERVICES),
    *(f"{name}_HEALTH_URL" for name in _SERVICES),
    *("PID_KAFKA", "PID_POSTGRES", "PID_SNS"),
}


async def test_the_transcript_tells_what_was_decided_why_and_how_fast(stack: RunningStack) -> None:
    """A login from a new computer, an export, a login from the known one (M1, M2, M3)."""
    parts = re.split(r"^\d\. ", stack.printed, flags=re.MULTILINE)[1:]
    reasons = [re.findall(r"(?:challenge|allow): (\S+)", part)[0] for part in parts]
    assert reasons == ["ip.new", "export.always", "ip.known"]
    assert ["phone    +61" in part for part in parts] == [True, True, False]
    assert all(re.search(r"\d ms  page", part) for part in parts)
    assert "contacts as CSV" in parts[1]
    assert stack.env["GATEWAY_URL"] + "/login" in parts[2]


async def test_stack_env_names_everything(stack: RunningStack) -> None:
    """Addresses, the gateway's bearer, the people, the processes; for its owner alone."""
    assert set(stack.env) == _NAMES
    assert stat.S_IMODE(stack.layout.stack_env.stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR


async def test_secrets_are_for_their_owner_alone(stack: RunningStack) -> None:
    """Folder 0700, files 0600, a file a service."""
    folder = stack.layout.secrets
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IRWXU
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {stat.S_IRUSR | stat.S_IWUSR}


async def test_nothing_of_the_data_is_open_to_others(stack: RunningStack) -> None:
    """Kafka's log holds every event, the logs who did what: each entry of the data folder is its owner's alone."""
    entries = [*stack.layout.data.iterdir(), stack.layout.postgres]
    assert {"kafka", "logs", "secrets", "seed.json", "stack.env"} <= {entry.name for entry in entries}
    others = stat.S_IRWXG | stat.S_IRWXO
    found = {entry.name: oct(entry.stat().st_mode) for entry in entries if entry.stat().st_mode & others}
    assert found.keys() <= {"jars", "printed.txt"}, found  # Maven's jars, and what the test itself printed into


async def test_the_bearer_of_stack_env_opens_the_three_services(stack: RunningStack) -> None:
    """And without it they answer 401."""
    env = stack.env
    paths = {
        "VERIFIER_URL": f"/v1/requests/{env['DEMO_ACCOUNT_ID']}",
        "ENROLMENT_URL": f"/v1/accounts/{env['DEMO_ACCOUNT_ID']}",
        "EXPORTS_URL": f"/v1/accounts/{env['DEMO_ACCOUNT_ID']}/lists?user_id={env['DEMO_OWNER_ID']}",
    }
    async with aiohttp.ClientSession() as http:
        for name, path in paths.items():
            async with http.get(env[name] + path) as refused:
                assert refused.status == 401, name
            bearer = {"Authorization": f"Bearer {env['SERVICE_TOKEN']}"}
            async with http.get(env[name] + path, headers=bearer) as answer:
                assert answer.status in {200, 404}, (name, await answer.text())


async def test_make_demo_repeats_the_transcript(stack: RunningStack) -> None:
    """From an address that the account has not used, so the first login asks for a code again."""
    said: list[str] = []
    await perform(stage_of(stack.env), said.append)
    assert sum("granted" in line for line in said) == 3
