-- Texts asked for from known places and by account managers have a reserve that other texts cannot use up.

ALTER TABLE dispatch
    ADD COLUMN reserved boolean NOT NULL DEFAULT false,     -- it may use the reserve
    ADD COLUMN from_reserve boolean NOT NULL DEFAULT false; -- it is counted by the reserve, not by the ordinary limits

CREATE INDEX dispatch_account_reserve ON dispatch (account_id, counted_at DESC)
    WHERE counted_at IS NOT NULL AND from_reserve;
