-- What the sweep looks for.
CREATE INDEX request_never_closed ON request (opened_at) WHERE closed_at IS NULL;
CREATE INDEX request_new_number ON request (opened_at) WHERE new_sealed IS NOT NULL;
CREATE INDEX number_ended ON phone_number (ended_at) WHERE ended_at IS NOT NULL;

-- When the numbers of a removed member were erased; a later removal makes it due again.
ALTER TABLE member ADD COLUMN numbers_erased_at timestamptz;
CREATE INDEX member_removed ON member (removed_at)
 WHERE removed_at IS NOT NULL AND (numbers_erased_at IS NULL OR numbers_erased_at < removed_at);
