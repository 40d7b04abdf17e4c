-- Names for Lightning Addresses, and money that is given.

CREATE TABLE names (                      -- <name>@<our domain>; taken once, for good
    id          TEXT PRIMARY KEY,         -- the name
    version     INTEGER NOT NULL,
    pubkey      TEXT NOT NULL,
    created_at  INTEGER NOT NULL
);
CREATE INDEX names_by_pubkey ON names (pubkey);

CREATE TABLE zaps (                       -- what an invoice is for that gives money: a zap, or a payment to an address
    id           TEXT PRIMARY KEY,        -- payment hash
    version      INTEGER NOT NULL,
    gift         TEXT NOT NULL,           -- topup, donation, agent, user, job, result
    receiver     TEXT NOT NULL,           -- pubkey of a user, id of an agent or of a job
    sender       TEXT NOT NULL,           -- hex pubkey, or '' where nobody says who pays
    request      TEXT NOT NULL,           -- the zap request as received, or ''
    comment      TEXT NOT NULL,
    receipt      TEXT NOT NULL,           -- id of the receipt we published, or ''
    created_at   INTEGER NOT NULL
);

CREATE TABLE notices (                    -- what a person is told together: gifts of one span of time
    id          TEXT PRIMARY KEY,         -- <pubkey>/<end of the span>
    version     INTEGER NOT NULL,
    pubkey      TEXT NOT NULL,
    due_at      INTEGER,                  -- when to tell; NULL: told
    created_at  INTEGER NOT NULL
);
CREATE INDEX notices_due ON notices (due_at) WHERE due_at IS NOT NULL;

ALTER TABLE invoices ADD COLUMN preimage TEXT NOT NULL DEFAULT '';  -- of a settled one
CREATE INDEX invoices_by_hash ON invoices (payment_hash);
