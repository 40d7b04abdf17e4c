-- What a compute node has earned by its jobs, and up to where it was told.

ALTER TABLE workers ADD COLUMN paid_jobs INTEGER NOT NULL DEFAULT 0;    -- jobs that brought it something
ALTER TABLE workers ADD COLUMN earned_msat INTEGER NOT NULL DEFAULT 0;   -- by all of them
ALTER TABLE workers ADD COLUMN told_jobs INTEGER NOT NULL DEFAULT 0;    -- of `paid_jobs`, those it has been told of
ALTER TABLE workers ADD COLUMN told_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX workers_untold ON workers (told_at) WHERE paid_jobs > told_jobs;
