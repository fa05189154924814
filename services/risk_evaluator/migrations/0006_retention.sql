-- What the sweep looks for. A range index of blocks finds no few oldest rows.
CREATE INDEX forgotten_age ON forgotten (forgotten_at);
DROP INDEX assessment_age;
CREATE INDEX assessment_age ON assessment (assessed_at);
