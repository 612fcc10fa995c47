"""Coroutine tests run on a loop of their own, with a bound."""

from tests.executors import conftest

pytest_pyfunc_call = conftest.pytest_pyfunc_call
