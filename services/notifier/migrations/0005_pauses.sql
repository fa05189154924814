-- Texts that people on call stopped: all of them, those to a country, or those of an account. A row stays when it has
-- ended; who did it and why is in `operation`.
CREATE TABLE pause (
    pause_id   uuid PRIMARY KEY,
    country    text CHECK (country ~ '^([A-Z]{2}|001)$'),
    account_id uuid,
    since      timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz,
    CHECK (country IS NULL OR account_id IS NULL)
);
CREATE UNIQUE INDEX pause_open ON pause (country, account_id) NULLS NOT DISTINCT WHERE ended_at IS NULL;

-- What a pause would hold back: texts that wait or are about to leave, without anything about to whom.
CREATE VIEW waiting_text AS
SELECT d.account_id, n.country
  FROM dispatch d LEFT JOIN enrolment.sealed_number n ON n.number_id = d.number_id
 WHERE d.state IN ('due', 'claimed')
UNION ALL
SELECT t.account_id, n.country
  FROM notice t LEFT JOIN enrolment.sealed_number n ON n.number_id = t.number_id
 WHERE t.state IN ('due', 'claimed');

GRANT SELECT ON pause, waiting_text TO operator;
GRANT INSERT (pause_id, country, account_id) ON pause TO operator;
GRANT UPDATE (ended_at) ON pause TO operator;
