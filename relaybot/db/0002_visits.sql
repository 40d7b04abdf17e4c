-- Events that shall also reach relays of others: a zap's receipt, a message to where its recipient reads.

CREATE TABLE visits (                     -- one event to one such relay
    id          TEXT PRIMARY KEY,         -- <event id>/<relay's URL>
    version     INTEGER NOT NULL,
    event       TEXT NOT NULL,
    relay       TEXT NOT NULL,
    tries       INTEGER NOT NULL,
    next_at     INTEGER,                  -- when to go; NULL: finished
    note        TEXT NOT NULL,            -- what the relay said last, if it did not take it
    created_at  INTEGER NOT NULL
);
CREATE INDEX visits_due ON visits (next_at) WHERE next_at IS NOT NULL;
