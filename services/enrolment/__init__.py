"""Enrolment: who is a member of which account, with which number, and whether two-factor is on.

Decides   whether a word about a member is news, whether it needs the owner's code first, whether an accepted code
          confirms a given number, who may enter whose number, and what stands in the way of turning two-factor on.
Reads     account.members.v1, access.decisions.v1; the view risk_evaluator.known_place; over HTTP numbers, members to
          approve, the box that turns two-factor on, and which places to forget.
Writes    access.requests.v1 (codes for its own changes), account.settings.v1; the views protection, number and
          sealed_number.
Owns      members, numbers (sealed), the setting, its audit chain.
"""
