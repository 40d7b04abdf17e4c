-- Top-ups by card: what was offered for how much, and what the card company says of it; who was verified.

CREATE TABLE card_offers (
    id            TEXT PRIMARY KEY,   -- ours, and unguessable: the address of its page
    version       INTEGER NOT NULL,
    pubkey        TEXT NOT NULL,      -- who asked, and owes if it is taken back
    account       TEXT NOT NULL,      -- what is bought stands here: user/<pubkey>/card or org/<id>/card
    amount_msat   INTEGER NOT NULL,
    currency      TEXT NOT NULL,      -- ISO 4217
    minor         INTEGER NOT NULL,   -- the price, in the currency's smallest unit
    state         TEXT NOT NULL,      -- quoted, accepted, open, held, credited, returned, expired
    challenge     INTEGER NOT NULL,   -- 1: 3-D Secure was demanded
    quote_until   INTEGER NOT NULL,   -- it is taken at this price until then
    accepted_at   INTEGER,            -- when the customer took price and terms
    pay_until     INTEGER,            -- and can be paid until then
    checkout      TEXT,               -- the card company's name for the page where it is paid
    url           TEXT,               -- and its address
    payment       TEXT,               -- the card company's name for the payment
    doubts        TEXT NOT NULL,      -- why it is held
    approved_at   INTEGER,            -- the operator has taken it as it is
    look_at       INTEGER,            -- when the card company is asked again; NULL: when it says something
    created_at    INTEGER NOT NULL
);
CREATE UNIQUE INDEX card_offers_by_checkout ON card_offers (checkout) WHERE checkout IS NOT NULL;
CREATE UNIQUE INDEX card_offers_by_payment ON card_offers (payment) WHERE payment IS NOT NULL;
CREATE INDEX card_offers_by_pubkey ON card_offers (pubkey, created_at);
CREATE INDEX card_offers_accepted ON card_offers (accepted_at) WHERE accepted_at IS NOT NULL;
CREATE INDEX card_offers_due ON card_offers (look_at) WHERE look_at IS NOT NULL;

CREATE TABLE card_customers (
    id           TEXT PRIMARY KEY,    -- their pubkey
    version      INTEGER NOT NULL,
    verified_at  INTEGER,             -- the operator knows who they are
    warned_at    INTEGER              -- a payment of theirs was suspected or taken back: no further one is offered
);
