"""Enrolment: who is a member of which account, with which number, and whether two-factor is on.

Decides   whether a word about a member is news, whether it needs the owner's code first, whether an accepted code
          confirms a given number, who may enter whose number, what stands in the way of turning two-factor on, and
          whether an account manager's act is carried out.
Reads     account.members.v1, access.decisions.v1; the view risk_evaluator.known_place and the views timeline
          of the other services (what became of a request, for account managers); over HTTP numbers, members to
          approve, the box that turns two-factor on, which places to forget, and what account managers do.
Writes    access.requests.v1 (codes for its own changes), account.settings.v1; the views protection, number,
          sealed_number and open_reset.
Owns      members, numbers (sealed), the setting, its audit chain, the acts of account managers.
"""
