"""The gateway: the reference upstream with login page, contacts, exports, and the account managers' console.

Decides: whether a password is right, when tries of passwords have to wait, which browser a session belongs to. Never
whether a code is asked for, and never whether it was right.
Reads: account.members, account.settings (both only end sessions); risk_evaluator.known_place; the routes of
verifier, enrolment and exports.
Writes: access.requests (login), through `countersign.client`.
Owns: people and their password hashes, sessions, spent login grants, the limits on password tries.
"""
