-- Wallet connect (NIP-47): which apps may use whose balance, and what they have asked to be paid.

CREATE TABLE connections (
    id            TEXT PRIMARY KEY,       -- the app's hex pubkey; its secret is the app's alone
    version       INTEGER NOT NULL,
    owner         TEXT NOT NULL,          -- whose balance it uses
    name          TEXT NOT NULL,          -- what the owner calls it
    service       TEXT NOT NULL,          -- our hex pubkey for this connection
    budget_msat   INTEGER,                -- what it may spend in one period; NULL: no limit of its own
    period        INTEGER NOT NULL,       -- seconds of one period
    spent_msat    INTEGER NOT NULL,       -- in the period that began at spent_since, what is held included
    spent_since   INTEGER NOT NULL,
    expires_at    INTEGER,                -- NULL: never
    state         TEXT NOT NULL,          -- open, closed
    created_at    INTEGER NOT NULL
);
CREATE INDEX connections_by_owner ON connections (owner, created_at);

CREATE TABLE wallet_payments (            -- payments that an app asked for: it is told the end
    id             TEXT PRIMARY KEY,      -- of the payout
    version        INTEGER NOT NULL,
    connection     TEXT NOT NULL,
    request        TEXT NOT NULL,         -- the request as JSON
    budgeted_msat  INTEGER NOT NULL,      -- what of the budget it holds
    answered_at    INTEGER,               -- NULL: not yet
    created_at     INTEGER NOT NULL
);
CREATE INDEX wallet_payments_open ON wallet_payments (created_at) WHERE answered_at IS NULL;

ALTER TABLE invoices ADD COLUMN settled_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN preimage TEXT NOT NULL DEFAULT '';  -- of a paid one
