-- What a job was promised beside its split: later versions of the agent change neither.

ALTER TABLE jobs ADD COLUMN on_cancel TEXT NOT NULL DEFAULT 'none';  -- what a cancel costs after the first partial result
ALTER TABLE jobs ADD COLUMN result_schema TEXT;                      -- JSON Schema that a result must fit; NULL: any text
