-- Payments on the chain: many in one transaction, of which there is never a second version.

CREATE TABLE batches (
    id           TEXT PRIMARY KEY,        -- 1, 2, …
    version      INTEGER NOT NULL,
    state        TEXT NOT NULL,
    txid         TEXT NOT NULL,           -- '' until it is prepared; signing does not change it
    psbt         TEXT NOT NULL,           -- with which the node can sign and send it again, out of the same coins
    inputs       TEXT NOT NULL,           -- JSON list of the outputs it spends
    outputs      INTEGER NOT NULL,        -- payments in it
    amount_msat  INTEGER NOT NULL,        -- what they pay
    fee_msat     INTEGER NOT NULL,        -- what the transaction costs
    needs        INTEGER NOT NULL,        -- confirmations
    height       INTEGER NOT NULL,        -- of the block it stands in; 0: in none
    seen         INTEGER NOT NULL,        -- 1: the node lists it, and whoever is paid was told its id
    reason       TEXT NOT NULL,           -- why it waits, or was discarded
    sent_at      INTEGER NOT NULL,        -- the last time; 0: not yet
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
);
CREATE INDEX batches_open ON batches (created_at) WHERE state NOT IN ('buried', 'discarded');
CREATE INDEX batches_by_txid ON batches (txid) WHERE txid <> '';
CREATE INDEX payouts_by_batch ON payouts (attempt) WHERE rail = 'onchain';
