"""Retention: applied entries leave the stream in time, and none before it is applied."""

from collections.abc import Callable, Sequence

import pytest
import redis
