-- What leaves a job's escrow is found by the Plans of its job, job/<id>/…: most debits are such, and need no index.
-- A query that looks for another account says so: AND debit > 'hold/job0'.

DROP INDEX transfers_by_debit;
CREATE INDEX transfers_by_debit ON transfers (debit, seq) WHERE debit < 'hold/job/' OR debit > 'hold/job0';
