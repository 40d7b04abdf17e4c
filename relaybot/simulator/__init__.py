"""A Lightning node that is not real: Core Lightning's JSON-RPC, signed BOLT11, channels and a world of wallets."""
