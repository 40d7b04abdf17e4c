"""Skills and agents of others: registered, approved, in service, withdrawn."""
