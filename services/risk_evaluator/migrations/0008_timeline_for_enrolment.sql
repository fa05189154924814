-- Enrolment shows an account manager what became of a customer's request. The index is for the requests of one user.
CREATE INDEX assessment_of_user ON assessment (user_id, requested_at);

GRANT SELECT ON timeline TO enrolment;
