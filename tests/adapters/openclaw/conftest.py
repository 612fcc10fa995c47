"""Coroutine tests run as they do for executors."""

from tests.executors import conftest

pytest_pyfunc_call = conftest.pytest_pyfunc_call
