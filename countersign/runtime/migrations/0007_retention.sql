-- What the sweep looks for: letters that are settled and brakes that are released, by when that was.
CREATE INDEX dead_letter_settled ON dead_letter (changed_at) WHERE state IN ('done', 'discarded', 'too_old');
CREATE INDEX brake_released ON brake (released_at) WHERE released_at IS NOT NULL;
