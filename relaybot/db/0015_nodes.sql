-- What compute nodes can do, what the operator says of them, and how they have worked.

ALTER TABLE workers ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE workers ADD COLUMN models TEXT NOT NULL DEFAULT '[]';         -- JSON list; none: any
ALTER TABLE workers ADD COLUMN least_msat INTEGER NOT NULL DEFAULT 0;     -- what a job must pay it at least
ALTER TABLE workers ADD COLUMN schemes TEXT NOT NULL DEFAULT '["nip44"]'; -- JSON list of encryptions
ALTER TABLE workers ADD COLUMN concurrency INTEGER NOT NULL DEFAULT 0;    -- jobs at once; 0: it did not say
ALTER TABLE workers ADD COLUMN announcement TEXT NOT NULL DEFAULT '';     -- id of the event
ALTER TABLE workers ADD COLUMN said TEXT NOT NULL DEFAULT '';             -- by the operator: approved, refused
ALTER TABLE workers ADD COLUMN done INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workers ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workers ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;       -- in a row
ALTER TABLE workers ADD COLUMN success_ppm INTEGER NOT NULL DEFAULT 800000;
ALTER TABLE workers ADD COLUMN job_ms INTEGER NOT NULL DEFAULT 5000;
ALTER TABLE workers ADD COLUMN measured_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workers ADD COLUMN rests_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workers ADD COLUMN changed_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX workers_changed ON workers (changed_at);

-- Held jobs are served customer by customer: the next in the order of their keys, and of each the oldest.
DROP INDEX jobs_held;
CREATE INDEX jobs_held ON jobs (customer, created_at, id, agent) WHERE state = 'held';
