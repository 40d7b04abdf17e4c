-- Bitcoin that comes in: standing offers, addresses and deposits on the chain, invoices paid inside the book.

ALTER TABLE cursors ADD COLUMN mark TEXT NOT NULL DEFAULT '';   -- what stood there: of a settlement, its payment hash

ALTER TABLE invoices ADD COLUMN cancel_at INTEGER;              -- when the node is told to take no payment of it; NULL: it need not be
CREATE INDEX invoices_to_cancel ON invoices (cancel_at) WHERE cancel_at IS NOT NULL;

CREATE TABLE offers (                     -- standing offers (BOLT12): whoever pays one tops its owner up
    id          TEXT PRIMARY KEY,         -- the node's id of it
    version     INTEGER NOT NULL,
    owner       TEXT NOT NULL,
    bolt12      TEXT NOT NULL,
    created_at  INTEGER NOT NULL
);
CREATE INDEX offers_by_owner ON offers (owner);

CREATE TABLE addresses (                  -- on the chain: one for each user, and a new one after it was used
    id          TEXT PRIMARY KEY,         -- the address
    version     INTEGER NOT NULL,
    owner       TEXT NOT NULL,
    used_at     INTEGER,                  -- when a deposit was first seen there; NULL: none yet
    created_at  INTEGER NOT NULL
);
CREATE INDEX addresses_by_owner ON addresses (owner);

CREATE TABLE deposits (                   -- outputs that pay such an address
    id           TEXT PRIMARY KEY,        -- <txid>:<vout>
    version      INTEGER NOT NULL,
    owner        TEXT NOT NULL,
    address      TEXT NOT NULL,
    amount_msat  INTEGER NOT NULL,
    fee_msat     INTEGER NOT NULL,        -- what was taken off it
    state        TEXT NOT NULL,
    height       INTEGER NOT NULL,        -- of the block it was last seen in
    needs        INTEGER NOT NULL,        -- confirmations
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
);
CREATE INDEX deposits_by_owner ON deposits (owner, created_at);

CREATE INDEX accounts_below_zero ON accounts (id) WHERE balance_msat < 0;  -- debts, and what the outside holds for us
