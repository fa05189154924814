"""What other systems import: ask for access, wait for the decision, answer the challenge, check the grant.

requests = AccessRequests("gateway", ProducerSettings(bootstrap_servers="kafka:9092"))
authorised = login_authorised(request_id, user_id, session_secret)
built = requests.build("login", account_id, user_id, Client(ip=ip), authorised, request_id=request_id)
await requests.submit(built)

state = await Decisions(verifier_url, bearer).wait(built.request_id, seconds=2)
if state.state == "challenged":
    verdict = await Challenges(verifier_url, bearer).answer(state.challenge.challenge_id, code, answer_id)

expected = Expected(
    action="login", request_id=request_id, user_id=user_id, account_id=account_id, digest=built.digest
)
await Grants(f"{verifier_url}/.well-known/jwks.json").check(grant, expected, now)  # raises GrantRefused
...  # spend the request id in a table of your own, then act
"""

from countersign.client.calls import CallRefused, VerifierAway
from countersign.client.challenges import Challenges, Resent, Verdict
from countersign.client.clock import new_id
from countersign.client.decisions import GIVE_UP_SECONDS, ChallengeState, Decisions, RequestState
from countersign.client.denial import Denial
from countersign.client.digests import (
    ExportTerms,
    authorised_digest,
    contacts_digest,
    export_digest,
    login_authorised,
    login_digest,
    session_digest,
)
from countersign.client.grant import Expected, Grant, GrantRefused
from countersign.client.grants import Grants, KeysAway
from countersign.client.requests import AccessRequests, BuiltRequest, KafkaAway, ProducerSettings
from countersign.contract import Client, Summary, digest_of

__all__ = [
    "GIVE_UP_SECONDS",
    "AccessRequests",
    "BuiltRequest",
    "CallRefused",
    "ChallengeState",
    "Challenges",
    "Client",
    "Decisions",
    "Denial",
    "Expected",
    "ExportTerms",
    "Grant",
    "GrantRefused",
    "Grants",
    "KafkaAway",
    "KeysAway",
    "ProducerSettings",
    "RequestState",
    "Resent",
    "Summary",
    "Verdict",
    "VerifierAway",
    "authorised_digest",
    "contacts_digest",
    "digest_of",
    "export_digest",
    "login_authorised",
    "login_digest",
    "new_id",
    "session_digest",
]
