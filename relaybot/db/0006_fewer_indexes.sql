-- A Plan's transfers are found by their own ids, <plan>/<n>: one index less to write for each of them.

DROP INDEX transfers_by_plan;
