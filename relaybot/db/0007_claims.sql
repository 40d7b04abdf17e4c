-- Which of the processes that share the book has taken an event or a payout; '' is none.

ALTER TABLE inbox ADD COLUMN holder TEXT NOT NULL DEFAULT '';
ALTER TABLE payouts ADD COLUMN holder TEXT NOT NULL DEFAULT '';
