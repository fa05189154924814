"""The gateway: the reference upstream with login page, account settings, contacts, exports, and the managers' console.

Decides: whether a password is right, when tries of passwords have to wait, which browser a session belongs to. Never
whether a code is asked for, and never whether it was right.
Reads: account.members, account.settings (both only end sessions); risk_evaluator.known_place,
verifier.activity; the routes of verifier, enrolment and exports.
Writes: access.requests (login), through `countersign.client`.
Owns: people and their password hashes, sessions, spent login grants, the limits on password tries, and what a session
has begun on the settings pages and not finished.
"""
