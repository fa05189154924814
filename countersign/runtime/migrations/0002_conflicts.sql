-- A record with the natural key of another one and other content is a finding of its own.
ALTER TABLE dead_letter DROP CONSTRAINT dead_letter_kind_check;
ALTER TABLE dead_letter ADD CONSTRAINT dead_letter_kind_check
      CHECK (kind IN ('off_contract', 'conflict', 'key_unknown', 'bug'));
