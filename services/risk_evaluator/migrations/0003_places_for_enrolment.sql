-- Turning two-factor on keeps the places that the owner ticked; enrolment forgets the others, so it has to see them.
GRANT USAGE ON SCHEMA risk_evaluator TO enrolment;
GRANT SELECT ON known_place TO enrolment;
