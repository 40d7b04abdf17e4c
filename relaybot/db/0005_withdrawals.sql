-- Money that goes out: why and on which way, and what the operator can stop.

ALTER TABLE payouts ADD COLUMN kind TEXT NOT NULL DEFAULT 'payout';      -- payout, withdrawal
ALTER TABLE payouts ADD COLUMN rail TEXT NOT NULL DEFAULT 'lightning';   -- lightning, onchain
CREATE INDEX payouts_paid ON payouts (updated_at) WHERE state = 'paid';
ALTER TABLE attempts ADD COLUMN amount_msat INTEGER;                     -- of an invoice that names none; NULL: it does

ALTER TABLE users ADD COLUMN withdrawals_reason TEXT NOT NULL DEFAULT '';  -- why they are closed, as the user is told
ALTER TABLE users ADD COLUMN target TEXT NOT NULL DEFAULT '';            -- where payouts go, as it was last noted
ALTER TABLE users ADD COLUMN target_since INTEGER NOT NULL DEFAULT 0;    -- since when; 0: from the beginning

CREATE TABLE pauses (                     -- what the operator, or a doubt of our own, has stopped
    id        TEXT PRIMARY KEY,           -- payouts, withdrawals, lightning, onchain
    version   INTEGER NOT NULL,
    state     TEXT NOT NULL,              -- open, paused
    reason    TEXT NOT NULL,
    paused_by TEXT NOT NULL,              -- operator, reconciliation
    since     INTEGER NOT NULL
);
INSERT INTO pauses (id, version, state, reason, paused_by, since) VALUES ('payouts', 1, 'open', '', '', 0);
INSERT INTO pauses (id, version, state, reason, paused_by, since) VALUES ('withdrawals', 1, 'open', '', '', 0);
INSERT INTO pauses (id, version, state, reason, paused_by, since) VALUES ('lightning', 1, 'open', '', '', 0);
INSERT INTO pauses (id, version, state, reason, paused_by, since) VALUES ('onchain', 1, 'open', '', '', 0);

CREATE TABLE dm_relays (                  -- kind 10050: where private messages reach somebody; without, nothing unasked is sent
    id         TEXT PRIMARY KEY,          -- hex pubkey
    version    INTEGER NOT NULL,
    relays     TEXT NOT NULL,             -- JSON list of URLs, as they were said
    stated_at  INTEGER NOT NULL,
    event      TEXT NOT NULL
);
