"""The compute node behind `relaybot worker`: it says it is there, takes assignments, works, delivers.

It knows the service by its public key and by relays alone, and shares no state with it.
The parts are wired in `relaybot/worker/node.py`.
"""
