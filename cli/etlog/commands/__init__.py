"""Commands that come in groups."""
