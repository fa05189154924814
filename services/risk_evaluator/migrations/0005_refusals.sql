-- What the verifier may read: requests that nobody will judge, and why. The cause names a field and quotes no value.
-- One that is folded again, or that a bug of ours stopped, is not refused.
CREATE VIEW refusal AS
SELECT request_id, cause, kept_at
  FROM dead_letter
 WHERE request_id IS NOT NULL AND topic = 'access.requests.v1' AND kind = 'off_contract' AND state IN ('new', 'discarded');

GRANT USAGE ON SCHEMA risk_evaluator TO verifier;
GRANT SELECT ON refusal TO verifier;
