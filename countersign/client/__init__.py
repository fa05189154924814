"""What other systems import: ask for access, wait for the decision, answer the challenge, check the grant.

import asyncio
import os
from datetime import UTC, datetime

from countersign.client import (
    AccessRequests, Challenges, Client, Decisions, Grants, ProducerSettings, login_authorised, new_id,
)

async def log_in(account_id: str, user_id: str, ip: str | None, session_secret: str) -> bool:
    verifier, bearer = os.environ["VERIFIER_URL"], os.environ["SERVICE_TOKEN"]
    kafka = ProducerSettings.named(os.environ)  # KAFKA_BOOTSTRAP_SERVERS and so on
    async with (  # once in a program, not for each log-in
        AccessRequests("my-gateway", kafka) as requests,
        Decisions(verifier, bearer) as decisions,
        Challenges(verifier, bearer) as challenges,
        Grants(f"{verifier}/.well-known/jwks.json") as grants,
    ):
        request_id = new_id()
        authorised = login_authorised(request_id, user_id, session_secret)
        built = requests.build("login", account_id, user_id, Client(ip=ip), authorised, request_id=request_id)
        await requests.submit(built)
        state = await decisions.wait(request_id, seconds=10)
        grant = state.grant
        if state.challenge is not None:
            code = input(f"The code sent to {state.challenge.number_hint}: ")
            grant = (await challenges.answer(state.challenge.challenge_id, code, answer_id=new_id())).grant
        if grant is None:
            return False
        await grants.check(grant, built.expected, datetime.now(UTC))  # raises GrantRefusedError
        return True  # after the request id was spent in a table of your own

print(asyncio.run(log_in(os.environ["DEMO_ACCOUNT_ID"], os.environ["DEMO_OWNER_ID"], "203.0.113.7", "secret")))
"""

from countersign.client.calls import CallRefusedError, VerifierAwayError
from countersign.client.challenges import Challenges, Resent, Verdict
from countersign.client.decisions import GIVE_UP_SECONDS, ChallengeState, Decisions, RequestState
from countersign.client.denial import Denial
from countersign.client.digests import (
    ExportTerms,
    ManagerAct,
    ManagerActKind,
    authorised_digest,
    contacts_digest,
    export_digest,
    login_authorised,
    login_digest,
    manager_act_digest,
    session_digest,
)
from countersign.client.grant import Expected, Grant, GrantRefusedError
from countersign.client.grants import Grants, KeysAwayError
from countersign.client.requests import AccessRequests, BuiltRequest, KafkaAwayError, ProducerSettings
from countersign.clock import new_id
from countersign.contract import Client, Summary, digest_of

__all__ = [
    "GIVE_UP_SECONDS",
    "AccessRequests",
    "BuiltRequest",
    "CallRefusedError",
    "ChallengeState",
    "Challenges",
    "Client",
    "Decisions",
    "Denial",
    "Expected",
    "ExportTerms",
    "Grant",
    "GrantRefusedError",
    "Grants",
    "KafkaAwayError",
    "KeysAwayError",
    "ManagerAct",
    "ManagerActKind",
    "ProducerSettings",
    "RequestState",
    "Resent",
    "Summary",
    "Verdict",
    "VerifierAwayError",
    "authorised_digest",
    "contacts_digest",
    "digest_of",
    "export_digest",
    "login_authorised",
    "login_digest",
    "manager_act_digest",
    "new_id",
    "session_digest",
]
