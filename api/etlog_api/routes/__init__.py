"""The routes of the registry, by what they answer."""
