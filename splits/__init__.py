"""Who gets what of a price: the split language of config.yaml, checked when loaded, computed to the msat."""
