"""Loggers of libraries that repeat what must not be in the log: addresses with their secrets, headers, bodies."""

import logging


def silence(*names: str) -> None:
    """Keep all that these loggers say, and those below them, from the log of this process, at every level."""
    for name in names:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            logger.addHandler(logging.NullHandler())
        logger.setLevel(logging.CRITICAL + 1)  # those below it have its level
        logger.propagate = False  # if a library sets the level of one of them
