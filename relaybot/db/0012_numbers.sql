-- Long names are written once: an entry holds the numbers of its Plan and its accounts, and `transfers` shows it as before.

CREATE TABLE numbers (                    -- the next number that no process has reserved
    id       TEXT PRIMARY KEY,            -- book
    version  INTEGER NOT NULL,
    next     INTEGER NOT NULL
);

CREATE TABLE numbered_plans (             -- every Plan that was applied: applying it again changes nothing
    number      INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,     -- its key, such as job/<event id>/hold
    digest      TEXT,                     -- of a client's idempotent request: same key, other content is refused
    applied_at  INTEGER NOT NULL
);
INSERT INTO numbered_plans (number, id, digest, applied_at)
SELECT row_number() OVER (ORDER BY applied_at, id), id, digest, applied_at FROM plans;

CREATE TABLE numbered_accounts (
    number        INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE,
    balance_msat  INTEGER NOT NULL,       -- credits minus debits
    floor_msat    INTEGER,                -- NULL: no floor
    CONSTRAINT accounts_check CHECK (floor_msat IS NULL OR balance_msat >= floor_msat)
);
INSERT INTO numbered_accounts (number, id, balance_msat, floor_msat)
SELECT row_number() OVER (ORDER BY id), id, balance_msat, floor_msat FROM accounts;

INSERT INTO numbers (id, version, next) VALUES ('book', 1, 1 + (
    SELECT COALESCE(MAX(number), 0) FROM (SELECT number FROM numbered_plans UNION ALL SELECT number FROM numbered_accounts)
    AS given
));

CREATE TABLE entries (                    -- what Plans have moved: immutable
    seq           INTEGER PRIMARY KEY,    -- the order of the book
    plan          INTEGER NOT NULL,
    place         INTEGER NOT NULL,       -- within its Plan
    debit         INTEGER NOT NULL,
    credit        INTEGER NOT NULL,
    amount_msat   INTEGER NOT NULL CHECK (amount_msat > 0),
    debit_after   INTEGER NOT NULL,       -- running balances
    credit_after  INTEGER NOT NULL,
    reason        TEXT NOT NULL           -- why: a share's path, 'fee', 'hold', …
);
INSERT INTO entries (seq, plan, place, debit, credit, amount_msat, debit_after, credit_after, reason)
SELECT seq, numbered_plans.number, CAST(substr(transfers.id, length(plan) + 2) AS INTEGER),
    debited.number, credited.number, amount_msat, debit_after, credit_after, reason
FROM transfers LEFT JOIN numbered_plans ON numbered_plans.id = plan
LEFT JOIN numbered_accounts AS debited ON debited.id = debit
LEFT JOIN numbered_accounts AS credited ON credited.id = credit
ORDER BY seq;
-- postgresql: SELECT setval(pg_get_serial_sequence('entries', 'seq'), 1 + COALESCE(MAX(seq), 0), false) FROM entries;
CREATE UNIQUE INDEX entries_by_plan ON entries (plan, place);
CREATE INDEX entries_by_debit ON entries (debit, seq);
CREATE INDEX entries_by_credit ON entries (credit, seq);

DROP TABLE transfers;
DROP TABLE plans;
ALTER TABLE numbered_plans RENAME TO plans;
DROP TABLE accounts;
ALTER TABLE numbered_accounts RENAME TO accounts;
CREATE INDEX accounts_below_zero ON accounts (id) WHERE balance_msat < 0;  -- debts, and what the outside holds for us

CREATE VIEW transfers AS
SELECT seq, plans.id || '/' || place AS id, plans.id AS plan, debited.id AS debit, credited.id AS credit, amount_msat,
    debit_after, credit_after, reason, applied_at AS created_at
FROM entries JOIN plans ON plans.number = entries.plan
JOIN accounts AS debited ON debited.number = debit JOIN accounts AS credited ON credited.number = credit;
