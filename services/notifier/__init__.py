"""The notifier: one `challenge.issued` becomes at most one text, and what members should know of one notice each.

Decides: whether and when a text may leave (text limits, life left), and what it says.
Reads:   access.challenges.v1; for notices account.settings.v1, access.decisions.v1; the view enrolment.sealed_number.
Writes:  sms.deliveries.v1 (sms.accepted, sms.refused, sms.suppressed, sms.unknown: one a text).
Owns:    dispatch (a row a text, with the sealed code until the text is settled), notice (a row an event and number),
         pause (what people on call stopped).
"""
