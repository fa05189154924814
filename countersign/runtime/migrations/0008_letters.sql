-- A topic that was made anew has other records at the same offsets: the time of their append tells them apart.
ALTER TABLE dead_letter DROP CONSTRAINT dead_letter_pkey;
ALTER TABLE dead_letter ADD PRIMARY KEY (topic, partition, "offset", appended_at);

-- A letter that was redriven when its natural key was forgotten already: nothing was folded, and nothing will be.
ALTER TABLE dead_letter DROP CONSTRAINT dead_letter_state_check;
ALTER TABLE dead_letter ADD CONSTRAINT dead_letter_state_check
      CHECK (state IN ('new', 'redrive', 'done', 'discarded', 'too_old'));

-- Of a flood only the first records of an hour and kind are kept whole; of the others key, hash, length and cause.
ALTER TABLE dead_letter ADD COLUMN whole boolean NOT NULL DEFAULT true;
ALTER TABLE dead_letter ADD COLUMN source text NOT NULL DEFAULT '';
CREATE INDEX dead_letter_whole ON dead_letter (topic, kind, source, kept_at) WHERE whole;
CREATE INDEX dead_letter_whole_of_topic ON dead_letter (topic, kind, kept_at) WHERE whole;
