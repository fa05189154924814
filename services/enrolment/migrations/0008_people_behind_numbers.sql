-- Whose number it is and in which language they read: for the notices to an account's members.
-- role null: removed, or waiting for the owner's code.
CREATE OR REPLACE VIEW sealed_number AS
SELECT n.number_id, n.user_id, n.sealed, n.key_id, n.fingerprint, n.country, m.account_id,
       (SELECT count(*) FROM member o WHERE o.account_id = m.account_id AND o.role IS NOT NULL) AS account_members,
       m.locale, m.role, n.state
  FROM phone_number n
  JOIN member m ON m.user_id = n.user_id
 WHERE n.sealed IS NOT NULL
   AND (n.ended_at IS NULL OR n.ended_at > now() - interval '2 days');
