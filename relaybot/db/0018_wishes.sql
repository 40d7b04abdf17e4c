-- What people want of us beside their money.

ALTER TABLE users ADD COLUMN notices TEXT NOT NULL DEFAULT 'on';   -- of gifts: on, off
ALTER TABLE users ADD COLUMN zaps TEXT NOT NULL DEFAULT 'off';     -- public results name them: on, off
