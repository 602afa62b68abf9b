"""The producer's exceptions stand in one module."""

import inspect
from importlib import import_module
from pkgutil import walk_packages

import etlog_producer
from etlog_producer import errors


def test_no_other_module_defines_an_exception() -> None:
    """There is one place to look for them."""
    names = [module.name for module in walk_packages(etlog_producer.__path__, "etlog_producer.")]
    elsewhere = [
        f"{name}.{found.__name__}"
        for name in names
        for _, found in inspect.getmembers(import_module(name), inspect.isclass)
        if issubclass(found, BaseException) and found.__module__ == name != errors.__name__
    ]

    assert errors.__name__ in names
    assert elsewhere == []
