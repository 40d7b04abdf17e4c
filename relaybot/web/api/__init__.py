"""The API of one's own account: each request is signed (NIP-98), and does what a private command does."""
