-- What we owed to whom when it was published (37171): from it everybody gets the path of their own leaf.

CREATE TABLE liabilities (
    id          TEXT PRIMARY KEY,         -- the epoch: 1, 2, …
    version     INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    event       TEXT NOT NULL,            -- id of the 37171
    leaves      TEXT NOT NULL,            -- JSON: [[whose, nonce, [msat by class]], …], in the tree's order
    created_at  INTEGER NOT NULL
);
CREATE INDEX liabilities_by_epoch ON liabilities (epoch);
