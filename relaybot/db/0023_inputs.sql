-- What jobs name as their inputs (a URL, an event, another job), fetched for the node once the price is held.

CREATE TABLE job_inputs (
    id          TEXT PRIMARY KEY,         -- the job
    version     INTEGER NOT NULL,
    state       TEXT NOT NULL,            -- wanted, there, failed
    body        TEXT NOT NULL,            -- JSON: the inputs as the node gets them
    tries       INTEGER NOT NULL,         -- that nobody answered
    next_at     INTEGER,                  -- when they are looked for; NULL: not any more
    created_at  INTEGER NOT NULL
);
CREATE INDEX job_inputs_due ON job_inputs (next_at) WHERE next_at IS NOT NULL;
