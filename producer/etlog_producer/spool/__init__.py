"""The spool: events on this machine's disk, because memory has no room for them or their process has ended."""
