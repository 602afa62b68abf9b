"""The producer's exceptions: all in one module, all in etlog's tree."""

import inspect
from importlib import import_module
from pkgutil import walk_packages

import etlog_producer
import pytest
from etlog_events.errors import EtlogError, StoreError
from etlog_producer import errors

DEFINED = [error for _, error in inspect.getmembers(errors, inspect.isclass) if error.__module__ == errors.__name__]


@pytest.mark.parametrize("error", DEFINED, ids=lambda error: error.__name__)
def test_an_error_of_the_producer_is_an_error_of_etlog(error: type[Exception]) -> None:
    """Who catches `EtlogError` catches it."""
    assert issubclass(error, EtlogError)


@pytest.mark.parametrize("name", ["AcksUnavailable", "NotAcknowledged", "UnexpectedAnswer"])
def test_what_the_store_causes_is_an_error_of_the_store(name: str) -> None:
    """As it is in every other part."""
    assert issubclass(getattr(errors, name), StoreError)


def test_no_other_module_defines_an_exception() -> None:
    """There is one place to look for them."""
    names = [module.name for module in walk_packages(etlog_producer.__path__, "etlog_producer.")]
    elsewhere = [
        f"{name}.{found.__name__}"
        for name in names
        for _, found in inspect.getmembers(import_module(name), inspect.isclass)
        if issubclass(found, BaseException) and found.__module__ == name != errors.__name__
    ]

    assert len(names) > 10
    assert elsewhere == []
