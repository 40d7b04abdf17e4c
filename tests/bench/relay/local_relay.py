"""Run nostr-sdk's LocalRelay on a port: `python local_relay.py PORT`, in the environment of the peers."""

import asyncio
import sys

import nostr_sdk as sdk


async def _serve(port: int) -> None:
    unlimited = sdk.RateLimit(max_reqs=100_000, notes_per_minute=100_000_000)
    builder = sdk.LocalRelayBuilder().addr("127.0.0.1").port(port).rate_limit(unlimited).max_connections(10_000)
    relay = builder.build()
    await relay.run()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
