-- What happened to a request here, for people on call.
CREATE VIEW timeline AS
SELECT request_id, NULL::uuid AS challenge_id, account_id, user_id, requested_at AS at, 'requested' AS what,
       jsonb_build_object('action', action) AS detail
  FROM assessment
 UNION ALL
SELECT request_id, NULL, account_id, user_id, assessed_at, 'assessed',
       jsonb_build_object('outcome', outcome, 'reasons', to_jsonb(reasons), 'place', place, 'place_known', place_known,
                          'policy_version', policy_version, 'disputed', disputed_at IS NOT NULL)
  FROM assessment;
CREATE INDEX assessment_of_account ON assessment (account_id, requested_at);

GRANT SELECT ON timeline TO operator;
