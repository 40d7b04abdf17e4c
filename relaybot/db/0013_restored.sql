-- After a restore nothing goes out until the books and the node agree: a switch of its own, beside the operator's.

INSERT INTO pauses (id, version, state, reason, paused_by, since) VALUES ('restored', 1, 'open', '', '', 0);
