"""Say of each access request whether it needs a code.

decides  allow, challenge or deny for each access request, with every reason
reads    access.requests.v1; access.decisions.v1 and account.settings.v1 for places;
         enrolment.protection and enrolment.number for members and numbers
writes   access.assessments.v1
owns     assessments by request_id, known places, what was forgotten; the view known_place

A granted login teaches the place it came from. Nothing else does, and only the verifier grants.
"""
