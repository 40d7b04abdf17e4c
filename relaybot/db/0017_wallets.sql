-- Wallet connect: payments inside the book, what an app may ask, and several requests for one payment.

ALTER TABLE invoices ADD COLUMN payer TEXT NOT NULL DEFAULT '';        -- who paid it out of a balance here, or ''
ALTER TABLE invoices ADD COLUMN description TEXT NOT NULL DEFAULT '';  -- as an app gave it
CREATE INDEX invoices_by_payer ON invoices (payer, settled_at) WHERE payer <> '';

ALTER TABLE connections ADD COLUMN methods TEXT NOT NULL DEFAULT '';   -- what it may ask, with spaces between; '': everything

ALTER TABLE wallet_payments ADD COLUMN payout TEXT NOT NULL DEFAULT '';  -- whose end is told
UPDATE wallet_payments SET payout = id;
