-- What happened to an export here, for people on call. The list's name stays here: it may name people.
CREATE VIEW timeline AS
SELECT export_id AS request_id, NULL::uuid AS challenge_id, account_id, user_id, asked_at AS at, 'export.asked' AS what,
       jsonb_build_object('rows', rows, 'format', format, 'state', state, 'reason', reason) AS detail
  FROM export
 UNION ALL
SELECT request_id, NULL, account_id, user_id, spent_at, 'export.granted', '{}'::jsonb
  FROM spent_grant;

GRANT SELECT ON timeline TO operator;
