"""How a misuse ends, on asyncio and on aioxide, in a form that can be compared.

A misuse is a function that takes a `Library`: asyncio's names or aioxide's, and loops to go with
them. What is compared is everything that a user would see of it: the result or the exception with
what it was raised from, warnings, and what the loop reported. `misuse` also takes down which
exception it must be, so that a case that goes wrong in the same harmless way everywhere is noticed.
"""

import asyncio
import difflib
import gc
import inspect
import pprint
import re
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

import aioxide
from tests.loops import Loop

Misuse = Callable[[Any], Any]

DEADLINE = 10


def _last_name(found: re.Match[str]) -> str:
    """Queue.get: get; Queue.__init__: Queue."""
    return found[1].removesuffix(".__init__").rpartition(".")[2]


_ALIKE: list[tuple[str, Any]] = [
    (r"0x[0-9a-f]+", "0x"),
    (r" cb=\[.*?\]", ""),
    (r"Task-\d+", "Task-N"),
    # Where a class or a function lives.
    (r"\b_?(asyncio(\.[a-z_]+)?|aioxide)\.(?=[A-Z])", ""),
    # How a call with wrong arguments is described, where the interpreter does it and where we do.
    (r"(\w+\.__init__|\w+\.\w+)(?=\(\) (takes|missing|got) )", _last_name),
    (r"\(\) takes .* given\)?$", "() takes another number of arguments"),
    (r"missing \d+ required .*argument: '(\w+)'", r"missing '\1'"),
    (r"missing \d+ required positional arguments: .*", "takes another number of arguments"),
    (r"missing required argument '(\w+)' \(pos \d+\)", r"missing '\1'"),
    (r"\S+ got multiple values for argument '(\w+)'", r"'\1' given twice"),
    (r"argument for \S+ given by name \('(\w+)'\) and position \(\d+\)", r"'\1' given twice"),
    # How a property that cannot be set is described, of a class and of a native type.
    (r"property '(\w+)' of '(\w+)' object has no setter", r"\2.\1 cannot be set"),
    (r"attribute '(\w+)' of '(\w+)' objects is not writable", r"\2.\1 cannot be set"),
]


class Library:
    """The names of one module, and loops: those that belong to it, or the other's."""

    def __init__(self, module: Any, make_loop: Callable[[], Loop]) -> None:
        self._module = module
        self.make_loop = make_loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def run(self, main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=self.make_loop) as runner:
            return runner.run(main)


STOCK = Library(asyncio, asyncio.SelectorEventLoop)
# On asyncio's loop our objects are driven by tasks that know nothing of them.
OURS = [
    pytest.param(Library(aioxide, aioxide.EventLoop), id="aioxide"),
    pytest.param(Library(aioxide, asyncio.SelectorEventLoop), id="aioxide-on-asyncio"),
]


class Case(NamedTuple):
    """A misuse, and the exceptions of which it must end in one; none if it must return."""

    function: Misuse
    expected: tuple[type[BaseException], ...]


class Cases(list[Any]):
    """The misuses of one test module, filled as the module is read, for `parametrize`."""

    def misuse(self, *expected: type[BaseException]) -> Callable[[Misuse], Misuse]:
        """Add a case."""

        def add(function: Misuse) -> Misuse:
            self.append(pytest.param(Case(function, expected), id=function.__name__))
            return function

        return add


class End(NamedTuple):
    """How a misuse ended."""

    result: object
    errors: list[str]
    warnings: list[str]
    reports: list[str]


def check(case: Case, ours: Library) -> None:
    """Require that the misuse ends as on asyncio, and there as it was written down."""
    assert asyncio.sleep is not aioxide.sleep, "asyncio's own names have been replaced"
    # What is there already is none of our business, and collecting it takes long.
    gc.freeze()
    try:
        stock_end, stock_error = _end_of(case.function, STOCK)
        our_end, _ = _end_of(case.function, ours)
    finally:
        gc.unfreeze()
    if case.expected:
        assert isinstance(stock_error, case.expected), stock_error
    else:
        assert stock_error is None
    if our_end != stock_end:
        pytest.fail(_difference(stock_end, our_end), pytrace=False)


def _difference(stock: End, ours: End) -> str:
    before, after = (pprint.pformat(end._asdict(), width=200).splitlines() for end in (stock, ours))
    return "\n".join(difflib.unified_diff(before, after, "asyncio", "aioxide", lineterm="", n=0))


def describe(error: BaseException) -> list[str]:
    """Return the exception, what it was raised from, and a group's own exceptions."""
    text = str(error)
    if isinstance(error, StopIteration):
        text = repr(error.value)  # args is () or (None,)
    lines = [f"{type(error).__name__}: {plain(text)}"]
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            lines += [f"  {line}" for line in describe(inner)]
    if error.__cause__ is not None:
        lines += [f"from {line}" for line in describe(error.__cause__)]
    elif error.__context__ is not None and not error.__suppress_context__:
        lines += [f"during {line}" for line in describe(error.__context__)]
    return lines


def plain(text: str) -> str:
    """Take out of a message what differs from run to run, and what may differ: see _ALIKE."""
    for pattern, replacement in _ALIKE:
        text = re.sub(pattern, replacement, text)
    return text


def attempt(use: Any) -> Any:
    """Return what the call returns, or the description of what it raises."""
    try:
        return use()
    except BaseException as error:
        return describe(error)


async def attempt_await(use: Any) -> Any:
    """Await what the call returns; return the result, or the description of what was raised."""
    try:
        return await use()
    except BaseException as error:
        return describe(error)


def _end_of(misuse: Misuse, library: Library) -> tuple[End, BaseException | None]:
    reports: list[str] = []

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _, context: reports.append(plain(str(context["message"])))
        )
        task = asyncio.current_task()
        assert task is not None
        loop.call_later(DEADLINE, task.cancel, "a misuse that hangs")
        return await misuse(library)

    result, raised = None, None
    with _warnings() as texts:
        try:
            if inspect.iscoroutinefunction(misuse):
                result = library.run(main())
            else:
                result = misuse(library)
        except BaseException as error:
            raised = error
        errors = describe(raised) if raised is not None else []
        raised_type = raised and raised.with_traceback(None)
        gc.collect()
    return End(result, errors, texts, reports), raised_type


@contextmanager
def _warnings() -> Iterator[list[str]]:
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    texts += [f"{entry.category.__name__}: {plain(str(entry.message))}" for entry in caught]
