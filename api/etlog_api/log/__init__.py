"""One log as a replica serves it: how it is read from the store, kept, and answered from."""
