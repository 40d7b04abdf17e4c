-- What a node had used when it passed on a part of its result: a cancel after that may be charged.

ALTER TABLE jobs ADD COLUMN partial TEXT NOT NULL DEFAULT '';  -- JSON: units and counts; '': no part was passed on
