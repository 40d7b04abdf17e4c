"""What the NIPs ask of a relay, sentence by sentence: against ours, or against any (`make test-relay URL=…`)."""
