"""The commands: a module each, whose `app` holds its options and runs it."""
