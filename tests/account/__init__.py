"""The pages of one's own account and the API, over sockets."""
