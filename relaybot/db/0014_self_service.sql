-- Self-service over HTTP: who is signed in, what was asked under which key, links that withdraw.

CREATE TABLE sessions (                   -- of browsers
    id          TEXT PRIMARY KEY,         -- SHA-256 of the cookie's token: the book opens no session
    version     INTEGER NOT NULL,
    owner       TEXT NOT NULL,            -- hex pubkey
    way         TEXT NOT NULL,            -- nip07, link
    expires_at  INTEGER NOT NULL,
    ended_at    INTEGER,                  -- signed out; NULL: not yet
    created_at  INTEGER NOT NULL
);
CREATE INDEX sessions_by_owner ON sessions (owner, created_at);

CREATE TABLE login_links (                -- told by private message, good for one sign-in
    id          TEXT PRIMARY KEY,         -- SHA-256 of the link's token
    version     INTEGER NOT NULL,
    owner       TEXT NOT NULL,
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER,                  -- NULL: not yet
    created_at  INTEGER NOT NULL
);

CREATE TABLE web_requests (               -- what was asked over HTTP: the same key gets the same answer
    id          TEXT PRIMARY KEY,         -- SHA-256 of who asked and their key
    version     INTEGER NOT NULL,
    owner       TEXT NOT NULL,
    what        TEXT NOT NULL,            -- topup, withdraw, …
    digest      TEXT NOT NULL,            -- of what was asked: another content under the same key is refused
    answer      TEXT NOT NULL,            -- in words, without secrets
    resource    TEXT NOT NULL,            -- what it made, if it has an id of its own
    created_at  INTEGER NOT NULL
);

CREATE TABLE http_tokens (                -- signed requests (NIP-98) that changed something: none does so twice
    id          TEXT PRIMARY KEY,         -- event id
    version     INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
);

CREATE TABLE withdraw_links (             -- LNURL-withdraw (LUD-03)
    id          TEXT PRIMARY KEY,         -- SHA-256 of k1
    version     INTEGER NOT NULL,
    owner       TEXT NOT NULL,
    amount_msat INTEGER NOT NULL,
    state       TEXT NOT NULL,            -- open, used, ended
    payout      TEXT NOT NULL,            -- what it became; '' until it is used
    expires_at  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
);
CREATE INDEX withdraw_links_by_owner ON withdraw_links (owner, created_at);

ALTER TABLE jobs ADD COLUMN delivery TEXT NOT NULL DEFAULT '';  -- the node's result, in the inbox; '' until there is one
