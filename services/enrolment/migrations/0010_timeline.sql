-- What was asked for and changed here, for people on call. Why a manager did it stays here: it may name people.
CREATE VIEW timeline AS
SELECT request_id, NULL::uuid AS challenge_id, account_id, user_id, opened_at AS at, 'setting.asked' AS what,
       jsonb_build_object('action', action) AS detail
  FROM request
 UNION ALL
SELECT request_id, NULL, account_id, user_id, closed_at, 'setting.' || state, jsonb_build_object('action', action)
  FROM request WHERE closed_at IS NOT NULL
 UNION ALL
SELECT request_id, NULL, account_id, manager_id, at, 'manager.' || outcome,
       jsonb_build_object('act', kind, 'for_user', user_id, 'ticket', ticket)
  FROM manager_act
 UNION ALL
SELECT NULL, NULL, account_id, user_id, at, kind,
       jsonb_build_object('version', version, 'by', actor_kind, 'actor', actor_id, 'ticket', ticket)
  FROM setting_change;
CREATE INDEX setting_change_of_user ON setting_change (user_id, at);
CREATE INDEX request_of_account ON request (account_id, opened_at);

GRANT SELECT ON timeline TO operator;
