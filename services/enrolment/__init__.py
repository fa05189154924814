"""Enrolment: who is a member of which account, with which number, and whether two-factor is on.

Decides   whether a word about a member is news, whether it needs the owner's code first, and whether an accepted code
          confirms a given number.
Reads     account.members.v1, access.decisions.v1; over HTTP what an account looks like and which places to forget.
Writes    account.settings.v1; the views protection, number and sealed_number.
Owns      members, numbers (sealed), the setting, its audit chain.
"""
