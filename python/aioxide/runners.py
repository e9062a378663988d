"""`run()` and `Runner`: the stdlib's own, except that the default loop is aioxide's.

What they do (Ctrl-C cancels the main task first, shutdown cancels what is left, then closes
generators and the executor) happens once per program and is right in the stdlib, so it is used and
not rewritten.
"""

import asyncio
import sys
from asyncio import events
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from aioxide.event_loop import new_event_loop

_T = TypeVar("_T")
_LoopFactory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]

if sys.version_info >= (3, 14):
    _Main: TypeAlias = Awaitable[_T]
else:
    _Main: TypeAlias = Coroutine[Any, Any, _T]


class Runner(asyncio.Runner):  # type: ignore[misc]  # final to typeshed, as a hint to users
    """asyncio.Runner, on an aioxide loop unless `loop_factory` says otherwise."""

    def __init__(
        self, *, debug: bool | None = None, loop_factory: _LoopFactory | None = None
    ) -> None:
        super().__init__(debug=debug, loop_factory=loop_factory or new_event_loop)


def run(
    main: _Main[_T], *, debug: bool | None = None, loop_factory: _LoopFactory | None = None
) -> _T:
    """Run `main` on a new loop, close the loop, return the result; asyncio.run() for aioxide.

    `loop_factory` is here on 3.11 too, where asyncio.run() does not have it yet.
    """
    if events._get_running_loop() is not None:  # noqa: SLF001
        # Here, because Runner.run() would say it of itself, and a loop would have been made.
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    with Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(main)
