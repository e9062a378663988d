"""The operations a program can be made of: one line each says all but what it does.

Generator, printer and shrinker all work from this table, so an operation is added by one line
here and one function of the same name in the module that `Spec.waits` and its family point to
(a test checks that each line has its function and each function its line).

Operations come in families, one for each thing that aioxide could get wrong by itself. A program
is made of everything, or of the plain operations and those of one or two families, which is
where contention comes from: sixty kinds of operation in a row hardly ever meet on one lock.

Numbers a, b, c are drawn below `ranges`; BODY stands for the number of a later body.
`thing[n]` is a future (n < 4) or a task; `future[n]` may have become a gather, a shield or a
wrapped concurrent future by then. Operations that wait appear only in coroutines, the others in
callbacks too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    family: str = "base"


FUTURES = 4
THINGS = 8
MESSAGES = 4
ERRORS = 16
DELAYS = 8
GATHERS = 6
WAITS_FOR = 6
AS_COMPLETED = 8

_WAITS = {
    "base": {
        "yield0": Spec(12, "await sleep(0)"),
        "bare": Spec(4, "await bare_yield()"),
        "bad_yield": Spec(1, "await yields(BAD[{a}])", (4,)),
        "await_future": Spec(12, "await future[{a}]", (FUTURES,)),
        "await_task": Spec(9, "await task[{a}]", (8,)),
        "call": Spec(4, "await body_{a}()", (BODY,)),
        "sleep": Spec(14, "await sleep_until(slot + {a})", (3,), clocked=True),
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
    },
    "gather": {
        "gather": Spec(
            4,
            "await gather(*TARGETS[{c} // 2](thing[{a}], thing[{b}]), return_exceptions={c} % 2)",
            (THINGS, THINGS, GATHERS),
        ),
        "gather_nested": Spec(
            1,
            "await gather(gather(thing[{a}], future[0]), thing[{b}], return_exceptions={c})",
            (THINGS, THINGS, 2),
        ),
    },
    "wait": {
        "wait": Spec(
            3, "await wait([thing[{a}], thing[{b}]], **WAIT[{c}])", (THINGS, THINGS, WAITS_FOR)
        ),
        "wait_all": Spec(1, "await wait([*future, thing[{a}]], **WAIT[{c}])", (THINGS, 1, 6)),
    },
    "as_completed": {
        "as_completed": Spec(
            1,
            "for c in as_completed(thing[{a}], thing[{b}], how={c})",
            (THINGS, THINGS, AS_COMPLETED),
        ),
    },
    "wait_for": {
        "wait_for": Spec(4, "await wait_for(thing[{a}], DELAY[{b}])", (THINGS, DELAYS)),
        "wait_for_call": Spec(2, "await wait_for(body_{a}(), DELAY[{b}])", (BODY, DELAYS)),
        "wait_for_stubborn": Spec(
            2, "await wait_for(STUBBORN[{a}](future[{c}]), DELAY[{b}])", (8, DELAYS, FUTURES)
        ),
        "wait_for_primitive": Spec(2, "await wait_for(PRIMITIVE[{a}](), DELAY[{b}])", (6, DELAYS)),
    },
    "timeout": {
        "timeout": Spec(4, "async with timeout(DELAY[{a}]):", (DELAYS,), blocks=1),
        "timeout_at": Spec(1, "async with timeout_at(now + DELAY[{a}]):", (DELAYS,), blocks=1),
        "timeout_again": Spec(1, "async with limit[-1]:", blocks=1),
    },
    "shield": {
        "shield": Spec(3, "await shield(thing[{a}])", (THINGS,)),
    },
    "group": {
        "group": Spec(
            4, "async with TaskGroup() as g:  # starts body_{a} {b}+1 times", (BODY, 2), blocks=1
        ),
        "group_again": Spec(1, "async with group[-1]:", blocks=1),
    },
    "lock": {
        "lock": Spec(4, "async with lock:", blocks=1),
        "lock_acquire": Spec(1, "await lock.acquire()"),
    },
    "event": {
        "event_wait": Spec(2, "await event.wait()"),
    },
    "condition": {
        "condition": Spec(
            2,
            "async with condition:  # {a}: wait, notify, notify_all, notify(2), wait_for(count)",
            (5,),
            blocks=1,
        ),
        "condition_wait": Spec(1, "await condition.wait()"),
        "condition_acquire": Spec(1, "await condition.acquire()"),
    },
    "semaphore": {
        "semaphore": Spec(3, "async with semaphore:", blocks=1),
        "semaphore_acquire": Spec(1, "await semaphore.acquire()"),
    },
    "barrier": {
        "barrier_wait": Spec(2, "await barrier.wait()"),
        "barrier": Spec(1, "async with barrier:", blocks=1),
        "barrier_abort": Spec(1, "await barrier.abort()"),
        "barrier_reset": Spec(1, "await barrier.reset()"),
    },
    "queue": {
        "queue_get": Spec(3, "await queue.get()"),
        "queue_put": Spec(3, "await queue.put({a})", (9,)),
        "queue_join": Spec(1, "await queue.join()"),
        "queue_work": Spec(1, "item = await queue.get()  # then task_done()", blocks=1),
    },
    "threads": {
        "to_thread": Spec(2, "await to_thread(JOB[{a}])", (6,)),
        "ensure": Spec(1, "await ensure_future(OBJECT[{a}](future[{b}]))", (3, FUTURES)),
    },
}

_ACTIONS = {
    "base": {
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
            7,
            "thing[{a}].add_done_callback(...):  # {b}: 1 own context, 2 twice",
            (THINGS, 3),
            1,
        ),
        "add_again": Spec(2, "thing[{a}].add_done_callback(callback[-{b}-1])", (THINGS, 4)),
        "remove_callback": Spec(
            6,
            "(thing[{a}] if {c} else its_own).remove_done_callback(callback[-{b}-1])",
            (THINGS, 4, 2),
        ),
        "call_soon": Spec(5, "loop.call_soon(..., own_context={a}):", (2,), blocks=1),
        "threadsafe": Spec(2, "loop.call_soon_threadsafe(...):", blocks=1),
        "call_later": Spec(4, "loop.call_later(0, ...):", blocks=1),
        "call_past": Spec(3, "loop.call_at(long_ago + {a}, ...):", (4,), blocks=1),
        "call_far": Spec(1, "loop.call_later(3600, ...):", blocks=1),
        "call_slot": Spec(7, "loop.call_at(slot + {a}, ...):", (3,), blocks=1, clocked=True),
        "stall": Spec(2, "time.sleep(until past slot + {a})", (2,), clocked=True),
        "cancel_handle": Spec(4, "handle[{a}].cancel()", (4,)),
        "set_var": Spec(4, "var.set({a})", (9,)),
        "stop": Spec(1, "loop.stop()"),
        "raise": Spec(3, "raise ERROR[{a}]", (ERRORS,)),
    },
    "gather": {
        "gather_into": Spec(
            2,
            "future[{a}] = gather(future[{b}], future[{b} + {c}], future[0])",
            (FUTURES, FUTURES, FUTURES),
        ),
    },
    "shield": {
        "shield_into": Spec(2, "future[{a}] = shield(future[{b}])", (FUTURES, FUTURES)),
    },
    "timeout": {
        "reschedule": Spec(2, "limit[-{a}-1].reschedule(now + DELAY[{b}])", (2, DELAYS)),
        "limit_state": Spec(1, "note(limit[-{a}-1])", (2,)),
    },
    "group": {
        "group_task": Spec(1, "group[-{a}-1].create_task(body_{b}())", (2, BODY)),
        "group_state": Spec(1, "note(group[-{a}-1])", (2,)),
    },
    "lock": {
        "lock_release": Spec(1, "lock.release()"),
        "lock_state": Spec(1, "note(lock)"),
    },
    "event": {
        "event_set": Spec(3, "event.set()"),
        "event_clear": Spec(1, "event.clear()"),
        "event_state": Spec(1, "note(event)"),
    },
    "condition": {
        "notify": Spec(1, "condition.notify({a})", (4,)),
        "notify_all": Spec(1, "condition.notify_all()"),
        "condition_release": Spec(1, "condition.release()"),
        "condition_state": Spec(1, "note(condition)"),
        "count": Spec(1, "count += 1"),
    },
    "semaphore": {
        "semaphore_release": Spec(1, "semaphore.release()"),
        "semaphore_state": Spec(1, "note(semaphore)"),
    },
    "barrier": {
        "barrier_state": Spec(1, "note(barrier)"),
    },
    "queue": {
        "put_nowait": Spec(2, "queue.put_nowait({a})", (9,)),
        "get_nowait": Spec(2, "queue.get_nowait()"),
        "task_done": Spec(1, "queue.task_done()"),
        "queue_shutdown": Spec(1, "queue.shutdown(immediate={a})", (2,)),
        "queue_state": Spec(1, "note(queue)"),
    },
    "threads": {
        "job_run": Spec(2, "job[-{a}-1].run()", (3,)),
        "submit": Spec(2, "concurrent.append(run_coroutine_threadsafe(body_{a}(), loop))", (BODY,)),
        "concurrent_new": Spec(1, "concurrent.append(concurrent.futures.Future())"),
        "concurrent_set": Spec(2, "concurrent[-{a}-1].set_result({b}) or error", (3, 9)),
        "concurrent_cancel": Spec(1, "concurrent[-{a}-1].cancel()", (3,)),
        "concurrent_state": Spec(1, "note(concurrent[-{a}-1])", (3,)),
        "wrap_into": Spec(2, "future[{a}] = wrap_future(concurrent[-{b}-1])", (FUTURES, 3)),
    },
}

WAITS = {
    kind: replace(spec, waits=True, family=family)
    for family, specs in _WAITS.items()
    for kind, spec in specs.items()
}
ACTIONS = {
    kind: replace(spec, family=family)
    for family, specs in _ACTIONS.items()
    for kind, spec in specs.items()
}
SPECS = WAITS | ACTIONS
FAMILIES = tuple(_WAITS)

# What a program about one family still needs from the base: to start, wait, wake and cancel.
# Futures that nobody settles are where tasks get stuck, so they weigh less than elsewhere.
PLAIN = {
    "yield0": 12,
    "await_future": 4,
    "await_task": 3,
    "call": 4,
    "sleep": 10,
    "try_cancel": 5,
    "try_error": 4,
    "try_finally": 4,
    "repeat": 2,
    "set_result": 5,
    "set_exception": 2,
    "cancel_future": 2,
    "cancel_task": 6,
    "uncancel": 2,
    "spawn": 8,
    "show": 2,
    "call_soon": 4,
    "call_later": 3,
    "call_slot": 5,
    "stall": 2,
    "raise": 2,
}
