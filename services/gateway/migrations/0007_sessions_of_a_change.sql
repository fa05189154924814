-- The number that a session has begun to put in force: when it replaces another, this session stays and the user's
-- others end.
ALTER TABLE session ADD COLUMN changes_to uuid;
