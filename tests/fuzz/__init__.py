"""What nobody thought of: random frames, messages and filters, few in `make test`, many in `make fuzz`."""
