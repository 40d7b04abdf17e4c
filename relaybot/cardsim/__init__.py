"""A card company that is not real: it answers as Stripe does, has a page to pay on, and can be made to misbehave."""
