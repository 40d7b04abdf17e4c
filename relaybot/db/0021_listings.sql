-- Skills and agents that authors register over Nostr (kind 37172), and what those they name say to it.

CREATE TABLE listings (
    id          TEXT PRIMARY KEY,         -- skill:<id>.<namespace> or agent:<id>.<namespace>
    version     INTEGER NOT NULL,
    author      TEXT NOT NULL,
    approved    TEXT NOT NULL,            -- the version in service; '': none
    agreed      TEXT NOT NULL,            -- the version that was approved last, withdrawn or not: what people agreed to
    waiting     TEXT NOT NULL,            -- the newest version, which nobody has decided about; '': none
    stated_at   INTEGER NOT NULL,         -- the date of the newest version or withdrawal: older ones change nothing
    created_at  INTEGER NOT NULL
);
CREATE INDEX listings_by_author ON listings (author);

CREATE TABLE listing_versions (
    id          TEXT PRIMARY KEY,         -- of the event
    version     INTEGER NOT NULL,
    listing     TEXT NOT NULL,
    author      TEXT NOT NULL,
    body        TEXT NOT NULL,            -- the event's content
    stated_at   INTEGER NOT NULL,         -- the event's date
    state       TEXT NOT NULL,
    reason      TEXT NOT NULL,            -- why it was refused
    uses        TEXT NOT NULL,            -- of an approved agent: JSON, each skill of others' listings → its version
    decided_at  INTEGER,
    created_at  INTEGER NOT NULL
);
CREATE INDEX listing_versions_waiting ON listing_versions (created_at) WHERE state = 'waiting';

CREATE TABLE namings (                    -- who is named with a share by somebody else's listing
    id          TEXT PRIMARY KEY,         -- <listing>/<pubkey>
    version     INTEGER NOT NULL,
    listing     TEXT NOT NULL,
    pubkey      TEXT NOT NULL,
    state       TEXT NOT NULL,            -- named, agreed, declined
    event       TEXT NOT NULL,            -- the version that was agreed to; '': none
    created_at  INTEGER NOT NULL
);
CREATE INDEX namings_by_pubkey ON namings (pubkey);
CREATE INDEX namings_declined ON namings (listing) WHERE state = 'declined';
