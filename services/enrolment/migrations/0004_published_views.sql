-- What other services may read, and nothing else. A view runs with its owner's rights, so readers need no table.

-- A row a member. The number is the one in force, else the given one, else null.
CREATE VIEW protection AS
SELECT m.account_id, m.user_id, m.role, a.two_factor,
       coalesce(c.number_id, g.number_id) AS number_id,
       coalesce(c.state, g.state) AS number_state,
       coalesce(c.hint, g.hint) AS number_hint,
       greatest(a.exports_held_until, m.exports_held_until) AS exports_held_until,
       m.unlocked_at
  FROM member m
  JOIN account a ON a.account_id = m.account_id
  LEFT JOIN phone_number c ON c.user_id = m.user_id AND c.state = 'confirmed'
  LEFT JOIN phone_number g ON g.user_id = m.user_id AND g.state = 'provided'
 WHERE m.role IS NOT NULL;

CREATE VIEW number AS
SELECT number_id, user_id, state, hint AS number_hint
  FROM phone_number;

-- Numbers a text may go to; ended ones for two days, for the notices to them. account_members is for the notifier's
-- limit of texts an account.
CREATE VIEW sealed_number AS
SELECT n.number_id, n.user_id, n.sealed, n.key_id, n.fingerprint, n.country, m.account_id,
       (SELECT count(*) FROM member o WHERE o.account_id = m.account_id AND o.role IS NOT NULL) AS account_members
  FROM phone_number n
  JOIN member m ON m.user_id = n.user_id
 WHERE n.sealed IS NOT NULL
   AND (n.ended_at IS NULL OR n.ended_at > now() - interval '2 days');

GRANT USAGE ON SCHEMA enrolment TO risk_evaluator, verifier, notifier;
GRANT SELECT ON protection TO risk_evaluator, verifier;
GRANT SELECT ON number TO risk_evaluator, verifier;
GRANT SELECT ON sealed_number TO notifier;
