-- Card money: the payments it was bought with, and the lots in which it stands on every account.

CREATE TABLE card_deposits (              -- card payments, each once
    id                TEXT PRIMARY KEY,   -- the card provider's own name for the payment
    version           INTEGER NOT NULL,
    account           TEXT NOT NULL,      -- what it bought stands here: user/<pubkey>/card or org/<id>/card
    pubkey            TEXT NOT NULL,      -- who paid, and owes if it is taken back
    amount_msat       INTEGER NOT NULL,
    state             TEXT NOT NULL,      -- good, disputed, lost
    written_off_msat  INTEGER NOT NULL,
    created_at        INTEGER NOT NULL
);
CREATE INDEX card_deposits_by_pubkey ON card_deposits (pubkey, created_at);
CREATE INDEX card_deposits_taken ON card_deposits (created_at) WHERE state <> 'good';

CREATE TABLE lots (                       -- so much of this account's balance is money of that deposit
    id            TEXT PRIMARY KEY,
    version       INTEGER NOT NULL,
    account       TEXT NOT NULL,
    deposit       TEXT NOT NULL,
    cause         TEXT NOT NULL,          -- the job it is held for, was earned with or came back from; or the deposit
    total_msat    INTEGER NOT NULL,       -- as it was made
    amount_msat   INTEGER NOT NULL CHECK (amount_msat >= 0),   -- what is left of it
    taken_msat    INTEGER NOT NULL CHECK (taken_msat >= 0),    -- what a dispute has taken of it
    matures_at    INTEGER,                -- when it becomes sats; NULL: never, it is card money
    deposited_at  INTEGER NOT NULL        -- when the card payment was made: the oldest is spent first
);
CREATE INDEX lots_by_account ON lots (account, deposited_at) WHERE amount_msat > 0;
CREATE INDEX lots_by_deposit ON lots (deposit);
CREATE INDEX lots_by_cause ON lots (cause);
CREATE INDEX lots_maturing ON lots (matures_at) WHERE amount_msat > 0 AND matures_at IS NOT NULL;
