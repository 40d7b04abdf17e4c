"""Withdrawals: what users send away, and what nobody can make them or us lose by it."""
