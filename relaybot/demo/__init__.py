"""The worked example, played through real events against the real product."""
