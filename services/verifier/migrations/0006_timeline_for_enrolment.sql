-- Enrolment shows an account manager what became of a customer's request. The index is for the requests of one user.
CREATE INDEX request_of_user ON request (user_id, taken_at);

-- As before, but that granted and denied are branches of their own: whoever asks for other steps does not read every
-- decision to find that it is none of them.
CREATE OR REPLACE VIEW timeline AS
SELECT r.request_id, NULL::uuid AS challenge_id, r.account_id, r.user_id, r.taken_at AS at, 'taken' AS what,
       jsonb_build_object('action', r.action) AS detail
  FROM request r
 UNION ALL
SELECT c.request_id, c.challenge_id, c.account_id, c.user_id, c.issued_at, 'challenged',
       jsonb_build_object('number', c.number_hint, 'reasons', to_jsonb(c.reasons), 'expires_at', c.expires_at,
                          'attempts', c.attempts, 'attempts_max', c.attempts_max)
  FROM challenge c
 UNION ALL
SELECT c.request_id, c.challenge_id, c.account_id, c.user_id, s.issued_at, 'text.issued',
       jsonb_build_object('send', s.send, 'state', s.state, 'reason', s.reason)
  FROM send s JOIN challenge c USING (challenge_id)
 UNION ALL
SELECT c.request_id, c.challenge_id, c.account_id, c.user_id, a.judged_at, 'answered',
       jsonb_build_object('accepted', a.accepted, 'tries_left', a.tries_left)
  FROM answer a JOIN challenge c USING (challenge_id)
 UNION ALL
SELECT r.request_id, c.challenge_id, r.account_id, r.user_id, d.decided_at, 'granted',
       jsonb_build_object('reason', d.reason, 'retry_at', d.retry_at, 'with_code', c.challenge_id IS NOT NULL)
  FROM decision d JOIN request r USING (request_id) LEFT JOIN challenge c USING (request_id)
 WHERE d.outcome = 'granted'
 UNION ALL
SELECT r.request_id, c.challenge_id, r.account_id, r.user_id, d.decided_at, 'denied',
       jsonb_build_object('reason', d.reason, 'retry_at', d.retry_at, 'with_code', c.challenge_id IS NOT NULL)
  FROM decision d JOIN request r USING (request_id) LEFT JOIN challenge c USING (request_id)
 WHERE d.outcome = 'denied';

GRANT USAGE ON SCHEMA verifier TO enrolment;
GRANT SELECT ON timeline TO enrolment;
