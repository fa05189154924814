"""The verifier: the only one that decides.

Decides: whether an assessment's `allow` is honoured (the floor), whether an answer is right, when a challenge is over.
Reads: access.assessments.v1, sms.deliveries.v1; the views enrolment.protection and enrolment.number.
Writes: access.challenges.v1, access.decisions.v1; the view verifier.activity for the gateway.
Owns: the keys that sign grants, the pepper of codes, requests, challenges, sends, answers, counters, decisions.
"""
