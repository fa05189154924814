-- What happened to a text here, for people on call. No number and no code; the provider's id finds the text there.
CREATE VIEW timeline AS
SELECT NULL::uuid AS request_id, challenge_id, account_id, user_id, created_at AS at, 'text.due' AS what,
       jsonb_build_object('send', send, 'due_at', due_at, 'reason', CASE WHEN state = 'due' THEN reason END) AS detail
  FROM dispatch
 UNION ALL
SELECT NULL, challenge_id, account_id, user_id, claimed_at, 'text.claimed',
       jsonb_build_object('send', send, 'claims', claims)
  FROM dispatch WHERE claimed_at IS NOT NULL
 UNION ALL
SELECT NULL, challenge_id, account_id, user_id, settled_at, 'text.' || state,
       jsonb_build_object('send', send, 'reason', reason, 'retry_at', retry_at, 'country', country,
                          'segments', segments, 'provider_message_id', provider_message_id)
  FROM dispatch WHERE settled_at IS NOT NULL;

GRANT SELECT ON timeline TO operator;
