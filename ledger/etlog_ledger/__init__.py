"""etlog-ledger: what is known of each set. Pure: it asks neither a store nor a clock.

`row` is what the ledger holds of a set, `fold` makes it of events, `retention` says which sets are kept.
"""
