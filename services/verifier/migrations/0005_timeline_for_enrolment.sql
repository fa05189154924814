-- Enrolment shows an account manager what became of a customer's request. The index is for the requests of one user.
CREATE INDEX request_of_user ON request (user_id, taken_at);

GRANT USAGE ON SCHEMA verifier TO enrolment;
GRANT SELECT ON timeline TO enrolment;
