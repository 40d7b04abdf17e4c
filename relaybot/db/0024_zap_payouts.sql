-- Payouts that are public zaps (NIP-57): who wants theirs so, the request of each, and the receipt that was seen.

ALTER TABLE users ADD COLUMN payout_zaps TEXT NOT NULL DEFAULT 'off';  -- on, off

CREATE TABLE zap_payouts (
    id          TEXT PRIMARY KEY,         -- the payout
    version     INTEGER NOT NULL,
    target      TEXT NOT NULL,            -- the Lightning Address that was asked
    zapper      TEXT NOT NULL,            -- hex pubkey by which its provider signs receipts
    request     TEXT NOT NULL,            -- the zap request (9734) as it is sent, the same for every try
    attempt     TEXT NOT NULL,            -- payment hash of the invoice that was given for it, or ''
    receipt     TEXT NOT NULL,            -- id of the receipt (9735) that was seen and checked, or ''
    tries       INTEGER NOT NULL,         -- looks for it that were in vain
    next_at     INTEGER,                  -- when it is looked for, once it is paid; NULL: not any more
    created_at  INTEGER NOT NULL
);
CREATE INDEX zap_payouts_due ON zap_payouts (next_at) WHERE next_at IS NOT NULL;
