-- Enrolment shows an account manager what became of a customer's export. The indexes are for one account and one user.
CREATE INDEX export_of_account ON export (account_id, asked_at);
CREATE INDEX export_of_user ON export (user_id, asked_at);

GRANT USAGE ON SCHEMA exports TO enrolment;
GRANT SELECT ON timeline TO enrolment;
