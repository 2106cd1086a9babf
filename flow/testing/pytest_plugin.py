"""Lets pytest tests be `async def`, also below `@given`.

    from flow.testing.pytest_plugin import pytest_pyfunc_call as pytest_pyfunc_call     in conftest.py

Each runs in a trio loop of its own, whose clock jumps to the next deadline when all tasks wait. A test marked
`real_time` keeps the clock on the wall.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from flow.testing.scheduler import drawn_seed, run


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test; leave all others to pytest."""
    test = pyfuncitem.obj
    real_time = pyfuncitem.get_closest_marker("real_time") is not None
    property_test = getattr(test, "hypothesis", None)
    if property_test is not None and inspect.iscoroutinefunction(property_test.inner_test):
        property_test.inner_test = _one_example(property_test.inner_test, real_time)
        return None
    if not inspect.iscoroutinefunction(test):
        return None
    names = inspect.signature(test).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names if name in pyfuncitem.funcargs}
    run(functools.partial(test, **arguments), real_time=real_time)
    return True


def _one_example(inner: Callable[..., Any], real_time: bool) -> Callable[..., Any]:
    @functools.wraps(inner)
    def example(*arguments: Any, **keywords: Any) -> None:
        run(functools.partial(inner, *arguments, **keywords), seed=drawn_seed(), real_time=real_time)

    return example
