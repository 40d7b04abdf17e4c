-- Companies: whose they are, who belongs to them, what they topped up, and sums of a month that have a limit.

CREATE TABLE companies (
    id          TEXT PRIMARY KEY,         -- org/<id>/… are its accounts
    version     INTEGER NOT NULL,
    name        TEXT NOT NULL,            -- as it is written on invoices
    owner       TEXT NOT NULL,            -- hex pubkey: decides about everything
    founder     TEXT NOT NULL,            -- the first owner: who referred them, referred the company
    state       TEXT NOT NULL,            -- open, dissolved
    limit_msat  INTEGER,                  -- jobs of members above it wait for the owner; NULL: none does
    created_at  INTEGER NOT NULL
);
CREATE INDEX companies_by_owner ON companies (owner);

CREATE TABLE members (
    id           TEXT PRIMARY KEY,        -- <company>/<hex pubkey>
    version      INTEGER NOT NULL,
    company      TEXT NOT NULL,
    pubkey       TEXT NOT NULL,
    state        TEXT NOT NULL,           -- invited, member, gone
    budget_msat  INTEGER,                 -- in one UTC month; NULL: no limit of their own
    stated_at    INTEGER NOT NULL,        -- since when the state is as it is
    created_at   INTEGER NOT NULL
);
CREATE INDEX members_by_company ON members (company);
CREATE INDEX members_by_pubkey ON members (pubkey);

CREATE TABLE company_topups (             -- money that came in for a company, and what was given for so much at once
    id           TEXT PRIMARY KEY,        -- its cause: invoice/<hash>, deposit/<txid>/<vout>
    version      INTEGER NOT NULL,
    company      TEXT NOT NULL,
    pubkey       TEXT NOT NULL,           -- who asked for the invoice or the address, and owes if it is taken back
    amount_msat  INTEGER NOT NULL,
    bonus_msat   INTEGER NOT NULL,
    state        TEXT NOT NULL,           -- good, reversed
    created_at   INTEGER NOT NULL
);
CREATE INDEX company_topups_by_company ON company_topups (company);

CREATE TABLE tallies (                    -- sums of one UTC month that have a limit
    id       TEXT PRIMARY KEY,            -- budget/<company>/<hex pubkey>/<month>, referral/<hex pubkey>/<month>
    version  INTEGER NOT NULL,
    msat     INTEGER NOT NULL
);

ALTER TABLE jobs ADD COLUMN company TEXT NOT NULL DEFAULT '';      -- that pays; '': the customer does
ALTER TABLE jobs ADD COLUMN month INTEGER NOT NULL DEFAULT 0;      -- 202611: whose budget it is counted in; 0: in none
CREATE INDEX jobs_by_company ON jobs (company, created_at) WHERE company <> '';

ALTER TABLE invoices ADD COLUMN company TEXT NOT NULL DEFAULT '';   -- that is credited; '': the owner is
ALTER TABLE addresses ADD COLUMN company TEXT NOT NULL DEFAULT '';
ALTER TABLE deposits ADD COLUMN company TEXT NOT NULL DEFAULT '';
