-- The simulated network: all nodes in one file, so that a payment moves in one transaction.
CREATE TABLE IF NOT EXISTS nodes (
    name TEXT PRIMARY KEY, secret BLOB NOT NULL, pubkey TEXT NOT NULL UNIQUE
) STRICT;
CREATE TABLE IF NOT EXISTS counters (  -- indexes are never reused, so they outlive the rows they counted
    node TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (node, name)
) STRICT;
CREATE TABLE IF NOT EXISTS channels (
    id INTEGER PRIMARY KEY, opener TEXT NOT NULL, peer TEXT NOT NULL,
    capacity_msat INTEGER NOT NULL, pushed_msat INTEGER NOT NULL,
    opener_msat INTEGER NOT NULL CHECK (opener_msat BETWEEN 0 AND capacity_msat),
    fee_base_msat INTEGER NOT NULL, fee_ppm INTEGER NOT NULL,
    connected INTEGER NOT NULL DEFAULT 1, opened_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS invoices (
    node TEXT NOT NULL, label TEXT NOT NULL, bolt11 TEXT NOT NULL, payment_hash TEXT NOT NULL,
    preimage TEXT NOT NULL, payment_secret TEXT NOT NULL, amount_msat INTEGER, description TEXT,
    expires_at INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'unpaid', pay_index INTEGER, received_msat INTEGER, paid_at INTEGER,
    created_index INTEGER NOT NULL, updated_index INTEGER,
    PRIMARY KEY (node, label), UNIQUE (node, payment_hash)
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS invoices_paid ON invoices (node, pay_index);
CREATE INDEX IF NOT EXISTS invoices_hash ON invoices (payment_hash);
CREATE TABLE IF NOT EXISTS attempts (  -- one call of pay or xpay that sent something
    groupid INTEGER PRIMARY KEY, node TEXT NOT NULL, payment_hash TEXT NOT NULL, bolt11 TEXT NOT NULL,
    label TEXT, destination TEXT NOT NULL, amount_msat INTEGER NOT NULL, created_at INTEGER NOT NULL,
    ending TEXT NOT NULL, held INTEGER NOT NULL, seconds REAL NOT NULL, open INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX IF NOT EXISTS attempts_open ON attempts (open) WHERE open = 1;
CREATE TABLE IF NOT EXISTS parts (
    node TEXT NOT NULL, created_index INTEGER NOT NULL, updated_index INTEGER, groupid INTEGER NOT NULL,
    partid INTEGER NOT NULL, payment_hash TEXT NOT NULL, amount_msat INTEGER NOT NULL, sent_msat INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending', preimage TEXT, completed_at INTEGER, erroronion TEXT,
    PRIMARY KEY (node, created_index)
) STRICT;
CREATE INDEX IF NOT EXISTS parts_hash ON parts (node, payment_hash);
CREATE INDEX IF NOT EXISTS parts_group ON parts (groupid);
CREATE TABLE IF NOT EXISTS htlcs (  -- one hop of one part, seen by both ends of its channel
    id INTEGER PRIMARY KEY, channel INTEGER NOT NULL, sender TEXT NOT NULL, groupid INTEGER NOT NULL,
    partid INTEGER NOT NULL, hop INTEGER NOT NULL, amount_msat INTEGER NOT NULL, payment_hash TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'live'
) STRICT;
CREATE INDEX IF NOT EXISTS htlcs_live ON htlcs (channel, sender) WHERE state = 'live';
CREATE INDEX IF NOT EXISTS htlcs_group ON htlcs (groupid);
CREATE TABLE IF NOT EXISTS moves (
    node TEXT NOT NULL, created_index INTEGER NOT NULL, channel INTEGER NOT NULL, payment_hash TEXT,
    credit_msat INTEGER NOT NULL, debit_msat INTEGER NOT NULL, fees_msat INTEGER NOT NULL,
    tag TEXT NOT NULL, created_at INTEGER NOT NULL, PRIMARY KEY (node, created_index)
) STRICT;
CREATE TABLE IF NOT EXISTS remembered (  -- what a node thinks that a channel carries at most
    node TEXT NOT NULL, channel INTEGER NOT NULL, sender TEXT NOT NULL, most_msat INTEGER NOT NULL,
    until INTEGER NOT NULL, PRIMARY KEY (node, channel, sender)
) STRICT;
CREATE TABLE IF NOT EXISTS scripts (id INTEGER PRIMARY KEY, script TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS wallets (
    name TEXT PRIMARY KEY, granted_msat INTEGER NOT NULL, created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS wallet_payments (
    payment_hash TEXT PRIMARY KEY, wallet TEXT NOT NULL, created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS chain (id INTEGER PRIMARY KEY CHECK (id = 1), height INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO chain (id, height) VALUES (1, 150);
CREATE TABLE IF NOT EXISTS lags (node TEXT PRIMARY KEY, height INTEGER NOT NULL) STRICT;  -- what a node has not seen yet
CREATE TABLE IF NOT EXISTS addresses (  -- of the nodes; every other one is a stranger's
    address TEXT PRIMARY KEY, node TEXT NOT NULL, keyidx INTEGER NOT NULL, form TEXT NOT NULL, script TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS transactions (
    id INTEGER PRIMARY KEY, txid TEXT NOT NULL UNIQUE, state TEXT NOT NULL DEFAULT 'mempool', block INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS raws (  -- the bytes in hex, with and without signatures
    txid TEXT PRIMARY KEY, raw TEXT NOT NULL, bare TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS fees (id INTEGER PRIMARY KEY CHECK (id = 1), perkw INTEGER NOT NULL) STRICT;
INSERT OR IGNORE INTO fees (id, perkw) VALUES (1, 253);
CREATE TABLE IF NOT EXISTS coins (  -- outputs; a wallet has seen one that stood in a block, or that it made itself
    txid TEXT NOT NULL, vout INTEGER NOT NULL, address TEXT NOT NULL, script TEXT NOT NULL,
    amount_msat INTEGER NOT NULL, node TEXT, seen INTEGER NOT NULL DEFAULT 0, booked INTEGER NOT NULL DEFAULT 0,
    spent_by TEXT, spend_booked INTEGER NOT NULL DEFAULT 0, reserved_to INTEGER, PRIMARY KEY (txid, vout)
) STRICT;
CREATE INDEX IF NOT EXISTS coins_of_node ON coins (node);
CREATE TABLE IF NOT EXISTS chainmoves (
    node TEXT NOT NULL, created_index INTEGER NOT NULL, txid TEXT NOT NULL, vout INTEGER NOT NULL,
    amount_msat INTEGER NOT NULL, spending_txid TEXT, block INTEGER NOT NULL, created_at INTEGER NOT NULL,
    PRIMARY KEY (node, created_index)
) STRICT;
CREATE TABLE IF NOT EXISTS offers (
    node TEXT NOT NULL, offer_id TEXT NOT NULL, bolt12 TEXT NOT NULL, amount_msat INTEGER, description TEXT,
    label TEXT, single_use INTEGER NOT NULL DEFAULT 0, active INTEGER NOT NULL DEFAULT 1,
    used INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (node, offer_id)
) STRICT;
CREATE TABLE IF NOT EXISTS offer_invoices (  -- which invoices were made for an offer, and what their payer wrote
    node TEXT NOT NULL, label TEXT NOT NULL, offer_id TEXT NOT NULL, payer_note TEXT, PRIMARY KEY (node, label)
) STRICT;
CREATE VIEW IF NOT EXISTS listed_invoices AS
    SELECT invoices.*, offer_id, payer_note FROM invoices LEFT JOIN offer_invoices USING (node, label);
