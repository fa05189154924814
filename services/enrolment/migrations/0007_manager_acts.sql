-- What account managers did, by the grant of each act. The account's audit chain holds the same for good; these rows
-- are what the limit an hour counts and what the console lists. user_id null: an act on the whole account.
-- outcome: recorded is the first of the two acts that reset an owner's number; carried_out once the second came.
CREATE TABLE manager_act (
    request_id uuid PRIMARY KEY,
    manager_id uuid NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('two_factor.off', 'exports.release', 'number.reset', 'user.unlock')),
    account_id uuid NOT NULL REFERENCES account,
    user_id    uuid REFERENCES member,
    anywhere   boolean NOT NULL,
    reason     text NOT NULL,
    ticket     text NOT NULL,
    outcome    text NOT NULL CHECK (outcome IN ('done', 'recorded', 'carried_out')),
    at         timestamptz NOT NULL
);
CREATE INDEX manager_act_of_manager ON manager_act (manager_id, at);
CREATE INDEX manager_act_of_user ON manager_act (user_id, at) WHERE outcome = 'recorded';
CREATE INDEX manager_act_age ON manager_act (at);

-- A number that an account manager reset: until then the user's right password leads to entering another.
CREATE TABLE number_reset (
    user_id  uuid PRIMARY KEY REFERENCES member,
    at       timestamptz NOT NULL,
    until    timestamptz NOT NULL CHECK (until > at),
    anywhere boolean NOT NULL
);
CREATE INDEX number_reset_age ON number_reset (until);

-- Resets that still wait for a number. The log-in pages look at it after each right password.
CREATE VIEW open_reset AS
SELECT m.account_id, r.user_id, a.two_factor, r.at, r.until, r.anywhere
  FROM number_reset r
  JOIN member m ON m.user_id = r.user_id
  JOIN account a ON a.account_id = m.account_id
 WHERE m.role IS NOT NULL
   AND r.until > now()
   AND NOT EXISTS (SELECT FROM phone_number n WHERE n.user_id = r.user_id AND n.state = 'confirmed');

GRANT USAGE ON SCHEMA enrolment TO gateway;
GRANT SELECT ON open_reset TO gateway;
