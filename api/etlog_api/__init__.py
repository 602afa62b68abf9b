"""The HTTP service that answers queries for the log, and its page."""

from etlog_api.app import app_from_environment, create_app

__all__ = ["app_from_environment", "create_app"]
