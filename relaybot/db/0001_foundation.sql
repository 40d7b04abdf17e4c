-- The book and the work. Amounts are msat, times are Unix seconds, ids derive from causes.
-- Every row a Plan may change has an id and a version, which each change raises by one.

CREATE TABLE plans (                      -- every Plan that was applied: applying it again changes nothing
    id          TEXT PRIMARY KEY,         -- its key, such as job/<event id>/hold
    digest      TEXT,                     -- of a client's idempotent request: same key, other content is refused
    applied_at  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE accounts (
    id            TEXT PRIMARY KEY,
    balance_msat  INTEGER NOT NULL,       -- credits minus debits
    floor_msat    INTEGER,                -- NULL: no floor
    CHECK (floor_msat IS NULL OR balance_msat >= floor_msat)
) WITHOUT ROWID;

CREATE TABLE transfers (                  -- immutable
    seq           INTEGER PRIMARY KEY,    -- the order of the book
    id            TEXT NOT NULL UNIQUE,   -- <plan>/<n>
    plan          TEXT NOT NULL,
    debit         TEXT NOT NULL,
    credit        TEXT NOT NULL,
    amount_msat   INTEGER NOT NULL CHECK (amount_msat > 0),
    debit_after   INTEGER NOT NULL,       -- running balances
    credit_after  INTEGER NOT NULL,
    reason        TEXT NOT NULL,          -- why: a share's path, 'fee', 'hold', …
    created_at    INTEGER NOT NULL
);
CREATE INDEX transfers_by_debit ON transfers (debit, seq);
CREATE INDEX transfers_by_credit ON transfers (credit, seq);
CREATE INDEX transfers_by_plan ON transfers (plan);

CREATE TABLE inbox (                      -- every event we must handle, once
    id           TEXT PRIMARY KEY,        -- event id
    version      INTEGER NOT NULL,
    kind         INTEGER NOT NULL,
    event        TEXT NOT NULL,           -- the event as JSON
    source       TEXT NOT NULL,           -- the relay it was first seen on
    state        TEXT NOT NULL,           -- new, done
    note         TEXT NOT NULL,           -- what became of it
    received_at  INTEGER NOT NULL
);
CREATE INDEX inbox_new ON inbox (received_at) WHERE state = 'new';

CREATE TABLE outbox (                     -- every event we owe the world, signed, until a relay has it
    id          TEXT PRIMARY KEY,
    version     INTEGER NOT NULL,
    event       TEXT NOT NULL,
    about       TEXT NOT NULL,            -- what it is about: such events go out in order
    place       INTEGER NOT NULL,         -- its place in that order, within one Plan
    relays      TEXT NOT NULL,            -- JSON list of the relays that have settled it
    state       TEXT NOT NULL,            -- pending, sent, given-up
    tries       INTEGER NOT NULL,
    next_at     INTEGER NOT NULL,
    note        TEXT NOT NULL,
    created_at  INTEGER NOT NULL
);
CREATE INDEX outbox_pending ON outbox (next_at) WHERE state = 'pending';

CREATE TABLE users (
    id                TEXT PRIMARY KEY,   -- hex pubkey
    version           INTEGER NOT NULL,
    referrer          TEXT,               -- hex pubkey, named once
    first_funded_at   INTEGER,
    threshold_msat    INTEGER,            -- own payout threshold; NULL: the config's
    withdrawals       TEXT NOT NULL,      -- open, closed
    payouts           INTEGER NOT NULL,   -- how many were opened: the next one's number
    payout_check_at   INTEGER,            -- when to look whether a payout is due; NULL: nothing new
    created_at        INTEGER NOT NULL
);
CREATE INDEX users_to_check ON users (payout_check_at) WHERE payout_check_at IS NOT NULL;

CREATE TABLE targets (                    -- where a user wants to be paid
    id          TEXT PRIMARY KEY,         -- <pubkey>/<source>
    version     INTEGER NOT NULL,
    pubkey      TEXT NOT NULL,
    source      TEXT NOT NULL,            -- registered, 10133, profile
    target      TEXT NOT NULL,            -- a Lightning Address, 'keep', or '' for none
    stated_at   INTEGER NOT NULL,         -- created_at of the event that said so
    event       TEXT NOT NULL             -- its id
);
CREATE INDEX targets_by_pubkey ON targets (pubkey);

CREATE TABLE splits (                     -- resolved splits by hash: what a job under way was promised
    id       TEXT PRIMARY KEY,
    version  INTEGER NOT NULL,
    body     TEXT NOT NULL
);

CREATE TABLE jobs (
    id            TEXT PRIMARY KEY,       -- id of the request
    version       INTEGER NOT NULL,
    agent         TEXT NOT NULL,
    customer      TEXT NOT NULL,
    request       TEXT NOT NULL,          -- the request as JSON
    state         TEXT NOT NULL,
    reason        TEXT NOT NULL,          -- why it was released
    split         TEXT NOT NULL,
    price_msat    INTEGER NOT NULL,       -- what is held
    charged_msat  INTEGER NOT NULL,
    invoice       TEXT NOT NULL,          -- label of the invoice asked for, or ''
    attempt       INTEGER NOT NULL,       -- assignments so far
    assignment    TEXT NOT NULL,          -- id of the current child request, or ''
    worker        TEXT NOT NULL,          -- pubkey of the lease holder, or ''
    result        TEXT NOT NULL,          -- id of the result event we published, or ''
    due_at        INTEGER,                -- when the current state runs out
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
);
CREATE INDEX jobs_due ON jobs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_by_customer ON jobs (customer, created_at);
CREATE INDEX jobs_open ON jobs (customer) WHERE due_at IS NOT NULL;
CREATE INDEX jobs_held ON jobs (created_at) WHERE state = 'held';
CREATE INDEX jobs_by_worker ON jobs (worker) WHERE due_at IS NOT NULL;

CREATE TABLE assignments (                -- child requests: which node was asked, when
    id           TEXT PRIMARY KEY,        -- id of the child request
    version      INTEGER NOT NULL,
    job          TEXT NOT NULL,
    number       INTEGER NOT NULL,
    worker       TEXT NOT NULL,
    lease_until  INTEGER NOT NULL,
    created_at   INTEGER NOT NULL
);
CREATE INDEX assignments_by_job ON assignments (job, number);

CREATE TABLE workers (
    id               TEXT PRIMARY KEY,    -- hex pubkey
    version          INTEGER NOT NULL,
    kinds            TEXT NOT NULL,       -- JSON list of job kinds
    announced_at     INTEGER NOT NULL,
    announced_until  INTEGER NOT NULL,
    status           TEXT NOT NULL,       -- idle, busy
    beat_at          INTEGER NOT NULL,
    beat_until       INTEGER NOT NULL,
    assigned_at      INTEGER NOT NULL     -- when it was last given a job: the one that waited longest is next
);

CREATE TABLE invoices (                   -- what we asked to be paid
    id            TEXT PRIMARY KEY,       -- the label at the node
    version       INTEGER NOT NULL,
    purpose       TEXT NOT NULL,          -- job, topup
    owner         TEXT NOT NULL,          -- the user who is credited
    job           TEXT NOT NULL,
    payment_hash  TEXT NOT NULL,
    bolt11        TEXT NOT NULL,
    amount_msat   INTEGER NOT NULL,
    received_msat INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    created_at    INTEGER NOT NULL
);
CREATE INDEX invoices_by_owner ON invoices (owner, created_at);

CREATE TABLE payouts (
    id            TEXT PRIMARY KEY,       -- <pubkey>/<n>
    version       INTEGER NOT NULL,
    pubkey        TEXT NOT NULL,
    state         TEXT NOT NULL,
    amount_msat   INTEGER NOT NULL,       -- what the recipient shall get
    reserve_msat  INTEGER NOT NULL,       -- the most the route may cost
    paid_msat     INTEGER NOT NULL,
    fee_msat      INTEGER NOT NULL,
    target        TEXT NOT NULL,
    attempts      INTEGER NOT NULL,
    attempt       TEXT NOT NULL,          -- payment hash of the current attempt, or ''
    reason        TEXT NOT NULL,          -- why it waits or stopped
    next_at       INTEGER,                -- when to go on; NULL: finished
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
);
CREATE INDEX payouts_due ON payouts (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX payouts_by_pubkey ON payouts (pubkey, created_at);

CREATE TABLE attempts (                   -- one payment hash settles one payout, ever
    id           TEXT PRIMARY KEY,        -- payment hash
    version      INTEGER NOT NULL,
    payout       TEXT NOT NULL,
    number       INTEGER NOT NULL,
    state        TEXT NOT NULL,
    bolt11       TEXT NOT NULL,
    expires_at   INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    sent_at      INTEGER NOT NULL,        -- 0: not yet
    doubt        TEXT NOT NULL,           -- what the node's records said last, if it could end the attempt: failed, empty
    doubt_since  INTEGER NOT NULL,        -- since when they have said so without a break; 0: they do not
    created_at   INTEGER NOT NULL
);
CREATE INDEX attempts_by_payout ON attempts (payout, number);

CREATE TABLE cursors (                    -- how far a feed was read
    id       TEXT PRIMARY KEY,
    version  INTEGER NOT NULL,
    value    INTEGER NOT NULL
);

CREATE TABLE summaries (                  -- published accounts, one per UTC day
    id          TEXT PRIMARY KEY,         -- 2026-11-22
    version     INTEGER NOT NULL,
    event       TEXT NOT NULL,
    carry       TEXT NOT NULL,            -- what was withheld and goes on to the next day, as JSON
    last_seq    INTEGER NOT NULL,         -- the last transfer counted
    created_at  INTEGER NOT NULL
);
