"""Money: accounts, the ledger's rules, the book, invoices, payouts, and the port to Lightning."""
