"""The primitives of one run, and the operations on them.

Which objects a program works on is decided by its `kit`, one number: a plain Lock or a subclass
that overrides `acquire` and `release`, a Queue of one or one without a limit, and so on. Each is
made when it is first asked for, since few programs need all. At the end of a run the trace says
what has become of those that were made.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from tests.differential.tidy import tidy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Note = Callable[[str, str, object], None]

_MODULE = re.compile(r"\b(?:asyncio\.\w+|aioxide(?:\._core)?|tests\.[\w.]+\.<locals>)\.(?=[A-Z])")
_WHEN = re.compile(r"when=[-\d.e+]+")

SEMAPHORES = (
    ("Semaphore", 2),
    ("Semaphore", 1),
    ("BoundedSemaphore", 1),
    ("BoundedSemaphore", 2),
    ("Semaphore", 0),
)
BARRIERS = (2, 3, 1)
QUEUES = (
    ("Queue", 1, ""),
    ("Queue", 2, ""),
    ("Queue", 0, ""),
    ("LifoQueue", 2, ""),
    ("PriorityQueue", 1, ""),
    ("Queue", 1, "hooks"),
    ("PriorityQueue", 0, ""),
    ("Queue", 1, "methods"),
)
KITS = 120


def describe(kit: int) -> str:
    """What a kit's number stands for, for people."""
    semaphore, value = SEMAPHORES[kit % len(SEMAPHORES)]
    queue, limit, overrides = QUEUES[kit % len(QUEUES)]
    parts = (
        f"lock: {'overridden' if kit % 2 else 'plain'}",
        f"condition: on {'lock' if kit % 3 == 1 else 'its own lock'}",
        f"semaphore: {semaphore}({value})",
        f"barrier: Barrier({BARRIERS[kit % len(BARRIERS)]})",
        f"queue: {queue}({limit}) {overrides and 'with overridden ' + overrides}".rstrip(),
    )
    return "; ".join(parts)


def show(primitive: object) -> str:
    """A primitive's repr, without its address and the module that it came from."""
    return _WHEN.sub("when=?", _MODULE.sub("", tidy(repr(primitive))))


class Kit:
    """The primitives of one run."""

    def __init__(self, lib: Any, note: Note, number: int) -> None:
        self._lib = lib
        self._note = note
        self._number = number
        self._made: dict[str, Any] = {}
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        """Make what is asked for the first time."""
        if name.startswith("_"):
            raise AttributeError(name)
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = getattr(self, f"_make_{name}")()
        return made

    def states(self) -> Iterator[tuple[str, str]]:
        """What has become of those that were made."""
        for name, primitive in self._made.items():
            yield name, show(primitive)

    def rescue(self) -> None:
        """Release a lock that nobody else will: who waits for a condition cannot be cancelled
        before it has the lock back, and would be left to the garbage collector."""
        for name in ("lock", "condition"):
            primitive = self._made.get(name)
            if primitive is not None and primitive.locked():
                primitive.release()

    def clear(self) -> None:
        """Let go of all."""
        self._made.clear()

    def _make_lock(self) -> Any:
        if self._number % 2 == 0:
            return self._lib.Lock()
        lock = _lock_type(self._lib)()
        lock.note = self._note
        return lock

    def _make_event(self) -> Any:
        return self._lib.Event()

    def _make_condition(self) -> Any:
        return self._lib.Condition(self.lock) if self._number % 3 == 1 else self._lib.Condition()

    def _make_semaphore(self) -> Any:
        name, value = SEMAPHORES[self._number % len(SEMAPHORES)]
        return getattr(self._lib, name)(value)

    def _make_barrier(self) -> Any:
        return self._lib.Barrier(BARRIERS[self._number % len(BARRIERS)])

    def _make_queue(self) -> Any:
        name, limit, overrides = QUEUES[self._number % len(QUEUES)]
        if not overrides:
            return getattr(self._lib, name)(limit)
        queue = {"hooks": _hooked_queue_type, "methods": _queue_type}[overrides](self._lib)(limit)
        queue.note = self._note
        return queue


@cache
def _lock_type(lib: Any) -> Any:
    """A Lock whose methods a program has overridden, as `async with` must respect."""

    class NotingLock(lib.Lock):  # type: ignore[misc]
        note: Note

        async def acquire(self) -> bool:
            self.note("lock", "acquire", None)
            got: bool = await super().acquire()
            self.note("lock", "acquired", got)
            return got

        def release(self) -> None:
            self.note("lock", "release", None)
            super().release()

    return NotingLock


@cache
def _hooked_queue_type(lib: Any) -> Any:
    """A Queue that stores its items in its own way: first the odd ones."""

    class HookedQueue(lib.Queue):  # type: ignore[misc]
        note: Note

        def _init(self, maxsize: int) -> None:
            self._queue: list[int] = []

        def _get(self) -> int:
            self.note("queue", "_get", None)
            return self._queue.pop(0)

        def _put(self, item: int) -> None:
            self.note("queue", "_put", item)
            self._queue.append(item)
            self._queue.sort(key=lambda value: value % 2 == 0)

    return HookedQueue


@cache
def _queue_type(lib: Any) -> Any:
    """A Queue whose methods a program has overridden, as the waiting ones must respect."""

    class NotingQueue(lib.Queue):  # type: ignore[misc]
        note: Note

        def put_nowait(self, item: int) -> None:
            self.note("queue", "put_nowait", item)
            super().put_nowait(item + 10)

        def get_nowait(self) -> int:
            item: int = super().get_nowait()
            self.note("queue", "get_nowait", item)
            return item

        def full(self) -> bool:
            full: bool = super().full()
            self.note("queue", "full", full)
            return full

    return NotingQueue
