"""Every method that asyncio says a loop has, aioxide's has of its own.

asyncio.AbstractEventLoop defines each as one that raises NotImplementedError, so a loop that
inherits one has it in name only. Each version of Python is asked for its own list.
"""

import asyncio
import inspect
from typing import Any

import pytest

import aioxide


def names_of(kind: type) -> list[str]:
    """What the class itself defines, not what every object has."""
    return sorted(name for name in vars(kind) if not hasattr(object, name))


def public(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith("_")]


ABSTRACT = [
    name
    for name in names_of(asyncio.AbstractEventLoop)
    if inspect.isfunction(vars(asyncio.AbstractEventLoop)[name])
]
STOCK = sorted(
    {
        name
        for kind in asyncio.SelectorEventLoop.__mro__
        if kind.__module__.startswith("asyncio")
        for name in public(names_of(kind))
    }
)


def test_the_lists_are_those_of_a_loop() -> None:
    assert {"run_forever", "create_server", "subprocess_exec", "add_signal_handler"} <= {*ABSTRACT}
    assert len(public(ABSTRACT)) >= 50
    assert {*public(ABSTRACT)} <= {*STOCK}


@pytest.mark.parametrize("name", ABSTRACT)
def test_a_method_is_not_the_one_that_raises(name: str) -> None:
    abstract = vars(asyncio.AbstractEventLoop)[name]
    ours = inspect.getattr_static(aioxide.EventLoop, name)
    assert ours is not abstract
    assert callable(ours)


@pytest.mark.parametrize("name", ABSTRACT)
def test_none_of_them_was_written_to_raise(name: str) -> None:
    ours: Any = inspect.getattr_static(aioxide.EventLoop, name)
    code = getattr(ours, "__code__", None)
    assert code is None or "NotImplementedError" not in code.co_names


@pytest.mark.parametrize("name", public(ABSTRACT))
def test_a_coroutine_function_is_one_on_aioxide_too(name: str) -> None:
    stock = inspect.getattr_static(asyncio.SelectorEventLoop, name)
    ours = inspect.getattr_static(aioxide.EventLoop, name)
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(stock)


def test_nothing_public_of_asyncios_own_loop_is_missing() -> None:
    assert [name for name in STOCK if not hasattr(aioxide.EventLoop, name)] == []
