"""The operations a program can be made of: one line each says all but what it does.

Generator, printer and shrinker all work from this table, so an operation is added by
one line here and one function in actions.py or waits.py (a test checks that both exist).

Numbers a, b, c are drawn below `ranges`; BODY stands for the number of a later body.
`thing[n]` is a future (n < 4) or a task. Operations that wait appear only in coroutines,
the others in callbacks too.
"""

from __future__ import annotations

from dataclasses import dataclass

BODY = -1


@dataclass(frozen=True, slots=True)
class Spec:
    """How often an operation is drawn, with which numbers and blocks, and how it reads."""

    weight: int
    text: str
    ranges: tuple[int, ...] = ()
    blocks: int = 0
    second: str = ""
    waits: bool = False
    clocked: bool = False


FUTURES = 4
THINGS = 8
MESSAGES = 4
ERRORS = 16
DELAYS = 8

_WAITS = {
    "yield0": Spec(12, "await sleep(0)"),
    "bare": Spec(4, "await bare_yield()"),
    "bad_yield": Spec(1, "await yields(BAD[{a}])", (4,)),
    "await_future": Spec(12, "await future[{a}]", (FUTURES,)),
    "await_task": Spec(9, "await task[{a}]", (8,)),
    "call": Spec(4, "await body_{a}()", (BODY,)),
    "sleep": Spec(14, "await sleep_until(slot + {a})", (3,), clocked=True),
    "shield": Spec(3, "await shield(thing[{a}])", (THINGS,)),
    "gather": Spec(
        4, "await gather(thing[{a}], thing[{b}], return_exceptions={c})", (THINGS, THINGS, 2)
    ),
    "wait": Spec(
        3,
        "await wait([thing[{a}], thing[{b}]], **WAIT[{c}])",
        (THINGS, THINGS, 5),
    ),
    "wait_for": Spec(4, "await wait_for(thing[{a}], DELAY[{b}])", (THINGS, DELAYS)),
    "as_completed": Spec(1, "for c in as_completed(thing[{a}], thing[{b}])", (THINGS, THINGS)),
    "timeout": Spec(4, "async with timeout(DELAY[{a}]):", (DELAYS,), blocks=1),
    "group": Spec(
        4, "async with TaskGroup() as g:  # starts body_{a} {b}+1 times", (BODY, 2), blocks=1
    ),
    "lock": Spec(4, "async with lock:", blocks=1),
    "semaphore": Spec(3, "async with semaphore:", blocks=1),
    "event_wait": Spec(2, "await event.wait()"),
    "condition": Spec(2, "async with condition:  # {a}: wait, notify, notify_all", (3,), blocks=1),
    "queue_get": Spec(3, "await queue.get()"),
    "queue_put": Spec(3, "await queue.put({a})", (9,)),
    "queue_join": Spec(1, "await queue.join()"),
    "try_cancel": Spec(7, "try:", blocks=2, second="except CancelledError:"),
    "try_error": Spec(4, "try:", blocks=2, second="except Exception:"),
    "try_finally": Spec(6, "try:", blocks=2, second="finally:"),
    "repeat": Spec(2, "for _ in range({a} + 2):", (2,), blocks=1),
    "generator": Spec(
        3,
        "async for _ in generator(how={a}, yields={b}):  # try: yield ... body",
        (4, 3),
        blocks=2,
        second="# in the generator's finally:",
    ),
}

_ACTIONS = {
    "set_result": Spec(7, "future[{a}].set_result({b})", (FUTURES, 9)),
    "set_exception": Spec(4, "future[{a}].set_exception(ERROR[{b}])", (FUTURES, ERRORS)),
    "cancel_future": Spec(4, "future[{a}].cancel(MESSAGE[{b}])", (FUTURES, MESSAGES)),
    "new_future": Spec(3, "future[{a}] = new_future(how={b})", (FUTURES, 2)),
    "future_state": Spec(1, "note(future[{a}])", (FUTURES,)),
    "cancel_task": Spec(9, "task[{a}].cancel(MESSAGE[{b}])", (8, MESSAGES)),
    "uncancel": Spec(3, "task[{a}].uncancel()", (8,)),
    "cancelling": Spec(2, "note(task[{a}].cancelling())", (8,)),
    "task_state": Spec(1, "note(task[{a}])", (8,)),
    "task_set": Spec(1, "task[{a}].set_result() or set_exception()", (8, 2)),
    "rename": Spec(1, "task[{a}].set_name('n{b}')", (8, 3)),
    "retrieve": Spec(4, "thing[{a}].exception()", (THINGS,)),
    "result": Spec(3, "thing[{a}].result()", (THINGS,)),
    "show": Spec(2, "note(repr(thing[{a}]))", (THINGS,)),
    "stack": Spec(1, "note(task[{a}].get_stack())", (8,)),
    "all_tasks": Spec(1, "note(all_tasks())"),
    "spawn": Spec(9, "task.append(create_task(body_{a}(), how={b}))", (BODY, 8)),
    "add_callback": Spec(
        7, "thing[{a}].add_done_callback(...):  # {b}: 1 own context, 2 twice", (THINGS, 3), 1
    ),
    "add_again": Spec(2, "thing[{a}].add_done_callback(callback[-{b}-1])", (THINGS, 4)),
    "remove_callback": Spec(
        6, "(thing[{a}] if {c} else its_own).remove_done_callback(callback[-{b}-1])", (THINGS, 4, 2)
    ),
    "call_soon": Spec(5, "loop.call_soon(..., own_context={a}):", (2,), blocks=1),
    "threadsafe": Spec(2, "loop.call_soon_threadsafe(...):", blocks=1),
    "call_later": Spec(4, "loop.call_later(0, ...):", blocks=1),
    "call_past": Spec(3, "loop.call_at(long_ago + {a}, ...):", (4,), blocks=1),
    "call_far": Spec(1, "loop.call_later(3600, ...):", blocks=1),
    "call_slot": Spec(7, "loop.call_at(slot + {a}, ...):", (3,), blocks=1, clocked=True),
    "cancel_handle": Spec(4, "handle[{a}].cancel()", (4,)),
    "event_set": Spec(3, "event.set()"),
    "event_clear": Spec(1, "event.clear()"),
    "put_nowait": Spec(2, "queue.put_nowait({a})", (9,)),
    "get_nowait": Spec(2, "queue.get_nowait()"),
    "task_done": Spec(1, "queue.task_done()"),
    "release_lock": Spec(1, "lock.release()"),
    "release_semaphore": Spec(1, "semaphore.release()"),
    "set_var": Spec(4, "var.set({a})", (9,)),
    "stop": Spec(1, "loop.stop()"),
    "raise": Spec(3, "raise ERROR[{a}]", (ERRORS,)),
}

WAITS = {
    kind: Spec(s.weight, s.text, s.ranges, s.blocks, s.second, True, s.clocked)
    for kind, s in _WAITS.items()
}
ACTIONS = _ACTIONS
SPECS = WAITS | ACTIONS
