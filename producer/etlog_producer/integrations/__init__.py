"""Publishing from code that a scheduler calls. Each module imports its scheduler only when it is used."""
