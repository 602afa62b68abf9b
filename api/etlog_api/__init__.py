"""The HTTP service that answers queries for the log, and its page."""

from etlog_api.app import create_app

__all__ = ["create_app"]
