"""Ways into etlog for code that somebody else calls. Each module imports its host only when it is used."""
