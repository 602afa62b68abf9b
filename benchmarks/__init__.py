"""How fast etlog is beside what people would use instead, on the same machine, in the same run."""
