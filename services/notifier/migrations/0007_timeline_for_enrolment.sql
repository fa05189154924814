-- Enrolment shows an account manager what became of a customer's request, its texts included.
GRANT USAGE ON SCHEMA notifier TO enrolment;
GRANT SELECT ON timeline TO enrolment;
