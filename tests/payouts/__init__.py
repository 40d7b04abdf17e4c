"""Payouts: from the balance that is due to the payment that is in the node's books and in ours."""
