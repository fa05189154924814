"""The pages on which account owners and managed users see and change their account.

Overview, the two-factor setting, numbers, the password asked again. Enrolment owns what they change; these pages hold
only what a session has begun and not finished.
"""
