"""Money that goes out on the chain: gathered, sent in one transaction, confirmed by depth."""
