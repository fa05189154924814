-- The request that a refused record was about, as far as it could be read: for whoever asks what became of it.
ALTER TABLE dead_letter ADD COLUMN request_id uuid;
CREATE INDEX dead_letter_of_request ON dead_letter (request_id) WHERE request_id IS NOT NULL;
