-- What the card company has taken back of a payment (a dispute may be about a part of it), and when.

ALTER TABLE card_deposits ADD COLUMN disputed_msat INTEGER NOT NULL DEFAULT 0;
ALTER TABLE card_deposits ADD COLUMN disputed_at INTEGER NOT NULL DEFAULT 0;
UPDATE card_deposits SET disputed_msat = amount_msat WHERE state <> 'good';
