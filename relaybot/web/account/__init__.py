"""The pages of one's own account: each asks for a session, and does what a private command does."""
