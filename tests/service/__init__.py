"""The parts between relay and handlers: inbox, outbox, loops, keys, published days."""
