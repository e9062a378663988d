"""Ctrl-C without a runner: KeyboardInterrupt leaves the loop from wherever it is.

A program of asyncio's that drives the loop itself can go on with it afterwards: what was ready
stays ready, what was asleep stays asleep. `asyncio.run()`'s way with Ctrl-C is tested beside this.
"""

import sys

import pytest

from tests.signals.processes import same_outcome

STATES = {
    "before the loop runs": """
        loop = asyncio.new_event_loop()
        def interrupt_then_run():
            ctrl_c()
            loop.run_forever()
        attempt(interrupt_then_run)
        loop.call_soon(say, "the loop is unharmed")
        turns(loop)
        loop.close()
    """,
    "asleep for ever": """
        loop = asyncio.new_event_loop()
        kill_when_asleep(signal.SIGINT)
        attempt(loop.run_forever)
        say(loop.is_running(), loop.is_closed(), asyncio._get_running_loop())
        loop.call_soon(say, "the loop is unharmed")
        turns(loop)
        loop.close()
    """,
    "asleep until a timer": """
        loop = asyncio.new_event_loop()
        timer = loop.call_later(1000, say, "never")
        kill_when_asleep(signal.SIGINT)
        attempt(loop.run_forever)
        say(timer.cancelled())
        timer.cancel()
        attempt(loop.run_until_complete, asyncio.sleep(0.001, "slept"))
        loop.close()
    """,
    "asleep with descriptors watched": """
        loop = asyncio.new_event_loop()
        left, right = socket.socketpair()
        loop.add_reader(left, loop.stop)
        kill_when_asleep(signal.SIGINT)
        attempt(loop.run_forever)
        right.send(b"x")
        attempt(loop.run_forever)
        say(loop.remove_reader(left))
        loop.close()
    """,
    "asleep beside a thread that works": """
        loop = asyncio.new_event_loop()
        left, right = socket.socketpair()
        loop.add_reader(left, say, "never")
        leave = threading.Event()
        started = threading.Event()
        def work():
            started.set()
            while not leave.is_set():
                sum(range(100))
        worker = threading.Thread(target=work)
        worker.start()
        started.wait()
        killer = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
        loop.call_soon(killer.start)
        attempt(loop.run_forever)
        leave.set()
        worker.join()
        loop.close()
    """,
    "a callback": """
        loop = asyncio.new_event_loop()
        for number in range(3):
            loop.call_soon(say, number)
        loop.call_soon(ctrl_c)
        for number in range(3, 6):
            loop.call_soon(say, number)
        attempt(loop.run_forever)
        say("the rest is kept")
        turns(loop)
        loop.close()
    """,
    "a callback from another thread": """
        loop = asyncio.new_event_loop()
        when_asleep(loop.call_soon_threadsafe, ctrl_c)
        attempt(loop.run_forever)
        turns(loop)
        loop.close()
    """,
    "a timer's callback": """
        loop = asyncio.new_event_loop()
        loop.call_later(0.001, ctrl_c)
        attempt(loop.run_forever)
        turns(loop)
        loop.close()
    """,
    "a descriptor's callback": """
        loop = asyncio.new_event_loop()
        left, right = socket.socketpair()
        right.send(b"x")
        loop.add_reader(left, ctrl_c)
        attempt(loop.run_forever)
        loop.remove_reader(left)
        turns(loop)
        loop.close()
    """,
    "a signal's own callback": """
        loop = asyncio.new_event_loop()
        loop.add_signal_handler(signal.SIGUSR1, ctrl_c)
        loop.add_signal_handler(signal.SIGUSR2, say, "the other one")
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR2)
        attempt(loop.run_forever)
        turns(loop, 3)
        loop.close()
    """,
    "a future's callback": """
        loop = asyncio.new_event_loop()
        future = loop.create_future()
        future.add_done_callback(lambda _: ctrl_c())
        future.add_done_callback(lambda done: say("second", done))
        future.set_result(1)
        attempt(loop.run_forever)
        turns(loop)
        loop.close()
    """,
    "the exception handler": """
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: ctrl_c())
        loop.call_soon(lambda: 1 / 0)
        loop.call_soon(say, "next")
        attempt(loop.run_forever)
        turns(loop)
        loop.close()
    """,
    "a step of a task": """
        loop = asyncio.new_event_loop()
        async def main():
            say("begins")
            try:
                ctrl_c()
            except KeyboardInterrupt:
                say("seen")
                raise
        async def other():
            say("other")
        task = loop.create_task(main())
        another = loop.create_task(other())
        attempt(loop.run_forever)
        say(task)
        attempt(task.result)
        say(another.done())
        turns(loop)
        loop.close()
    """,
    "a step of a task that takes it": """
        loop = asyncio.new_event_loop()
        async def main():
            try:
                ctrl_c()
            except KeyboardInterrupt:
                say("taken")
            await asyncio.sleep(0)
            return "done"
        attempt(loop.run_until_complete, main())
        loop.close()
    """,
    "a step that others wait for": """
        loop = asyncio.new_event_loop()
        async def inner():
            await asyncio.sleep(0)
            ctrl_c()
        async def outer():
            try:
                await task
            except BaseException as error:
                say("outer got", type(error).__name__)
                raise
        task = loop.create_task(inner())
        attempt(loop.run_until_complete, outer())
        say(task)
        attempt(turns, loop, 3)
        loop.close()
    """,
    "a step inside a group": """
        loop = asyncio.new_event_loop()
        async def inner():
            await asyncio.sleep(0)
            ctrl_c()
        async def sibling():
            try:
                await asyncio.Event().wait()
            finally:
                say("sibling ends")
        async def main():
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(sibling())
                    group.create_task(inner())
            except BaseException as error:
                say("main got", type(error).__name__)
                raise
        task = loop.create_task(main())
        attempt(loop.run_until_complete, task)
        say(task.done())
        attempt(loop.run_until_complete, task)
        loop.close()
    """,
    "a step inside gather": """
        loop = asyncio.new_event_loop()
        async def inner():
            await asyncio.sleep(0)
            ctrl_c()
        async def main():
            try:
                await asyncio.gather(inner(), asyncio.sleep(0, "slept"))
            except BaseException as error:
                say("main got", type(error).__name__)
                raise
        task = loop.create_task(main())
        attempt(loop.run_until_complete, task)
        attempt(loop.run_until_complete, task)
        loop.close()
    """,
    "while a task is being cancelled": """
        loop = asyncio.new_event_loop()
        async def main():
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                ctrl_c()
        task = loop.create_task(main())
        turns(loop)
        task.cancel()
        attempt(loop.run_forever)
        say(task)
        attempt(task.exception)
        loop.close()
    """,
    "inside a timeout": """
        loop = asyncio.new_event_loop()
        async def main():
            async with asyncio.timeout(1000):
                await asyncio.sleep(0)
                ctrl_c()
        attempt(loop.run_until_complete, main())
        turns(loop)
        loop.close()
    """,
    "while a lock is held": """
        loop = asyncio.new_event_loop()
        lock = asyncio.Lock()
        async def first():
            async with lock:
                await asyncio.sleep(0)
                ctrl_c()
        async def second():
            async with lock:
                return "second has the lock"
        one, two = loop.create_task(first()), loop.create_task(second())
        attempt(loop.run_forever)
        say(lock.locked())
        attempt(loop.run_until_complete, two)
        attempt(one.result)
        loop.close()
    """,
    "ready callbacks without end": """
        loop = asyncio.new_event_loop()
        count = 0
        def again():
            global count
            count += 1
            loop.call_soon(again)
            if count == 1000:
                threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
        again()
        attempt(loop.run_forever)
        seen = count
        turns(loop)
        say(count > seen >= 1000)
        loop.close()
    """,
    "tasks that never sleep": """
        loop = asyncio.new_event_loop()
        async def main():
            for count in range(1000):
                await asyncio.sleep(0)
            threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
            while True:
                await asyncio.sleep(0)
        attempt(loop.run_until_complete, main())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        turns(loop, 2)
        loop.close()
    """,
    "queues that are never empty": """
        loop = asyncio.new_event_loop()
        there, back = asyncio.Queue(), asyncio.Queue()
        passes = 0
        async def pass_on(source, target):
            global passes
            while True:
                target.put_nowait(await source.get())
                passes += 1
                if passes == 1000:
                    threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
        tasks = [loop.create_task(pass_on(there, back)), loop.create_task(pass_on(back, there))]
        there.put_nowait("ball")
        attempt(loop.run_forever)
        # Whom it hit is chance: the loop, or a task, which is done then.
        for task in tasks:
            task.cancel()
        results = loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        say({*map(type, results)} <= {asyncio.CancelledError, KeyboardInterrupt})
        loop.close()
    """,
    "run_until_complete's first turn": """
        loop = asyncio.new_event_loop()
        async def main():
            say("main begins")
            await asyncio.sleep(0)
            say("main ends")
            return "result"
        loop.call_soon(ctrl_c)
        attempt(loop.run_until_complete, main())
        (task,) = asyncio.all_tasks(loop)
        say(task.done())
        attempt(loop.run_until_complete, task)
        loop.close()
    """,
    "run_until_complete's last turn, after the task": """
        loop = asyncio.new_event_loop()
        async def main():
            await asyncio.sleep(0)
            loop.call_soon(ctrl_c)
            return "result"
        task = loop.create_task(main())
        attempt(loop.run_until_complete, task)
        say(task.done())
        attempt(loop.run_until_complete, task)
        loop.close()
    """,
    "run_until_complete's last turn, in a callback of the task": """
        loop = asyncio.new_event_loop()
        async def main():
            return "result"
        task = loop.create_task(main())
        task.add_done_callback(lambda _: ctrl_c())
        attempt(loop.run_until_complete, task)
        say(task)
        attempt(loop.run_until_complete, task)
        loop.close()
    """,
    "run_until_complete's last turn, in the task": """
        loop = asyncio.new_event_loop()
        async def main():
            try:
                return "result"
            finally:
                ctrl_c()
        attempt(loop.run_until_complete, main())
        turns(loop)
        loop.close()
    """,
    "between two runs": """
        loop = asyncio.new_event_loop()
        turns(loop)
        attempt(ctrl_c)
        attempt(loop.run_until_complete, asyncio.sleep(0, "done"))
        loop.close()
    """,
    "twice": """
        loop = asyncio.new_event_loop()
        loop.call_soon(ctrl_c)
        loop.call_soon(say, "between")
        loop.call_soon(ctrl_c)
        attempt(loop.run_forever)
        attempt(loop.run_forever)
        turns(loop)
        loop.close()
    """,
    "close, in the executor's shutdown": """
        from concurrent.futures import ThreadPoolExecutor
        class Pool(ThreadPoolExecutor):
            def shutdown(self, wait=True, **options):
                ctrl_c()
        loop = asyncio.new_event_loop()
        loop.set_default_executor(Pool())
        attempt(loop.close)
        say(loop.is_closed())
        attempt(loop.close)
        attempt(loop.run_forever)
    """,
    "shutdown_asyncgens": """
        loop = asyncio.new_event_loop()
        async def generate():
            try:
                yield "begun"
            finally:
                say("closing")
                ctrl_c()
        async def main():
            say(await anext(generator))
        generator = generate()
        loop.run_until_complete(main())
        attempt(loop.run_until_complete, loop.shutdown_asyncgens())
        attempt(loop.run_until_complete, loop.shutdown_asyncgens())
        attempt(turns, loop, 3)
        loop.close()
    """,
    "shutdown_default_executor": """
        loop = asyncio.new_event_loop()
        leave = threading.Event()
        def job():
            leave.wait()
            return "job done"
        future = loop.run_in_executor(None, job)
        def interrupt():
            leave.set()
            signal.raise_signal(signal.SIGINT)
        loop.call_soon(loop.call_soon, interrupt)
        attempt(loop.run_until_complete, loop.shutdown_default_executor())
        attempt(loop.run_until_complete, future)
        attempt(loop.run_in_executor, None, print)
        loop.close()
    """,
    "a job's way home from a thread": """
        loop = asyncio.new_event_loop()
        async def main():
            future = loop.run_in_executor(None, int, "7")
            future.add_done_callback(lambda _: ctrl_c())
            return await future
        task = loop.create_task(main())
        attempt(loop.run_until_complete, task)
        attempt(loop.run_until_complete, task)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    """,
    "a generator's last words": """
        loop = asyncio.new_event_loop()
        async def generate():
            try:
                yield 1
            finally:
                say("finalised")
                ctrl_c()
        async def main():
            async for _ in generate():
                break
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        attempt(loop.run_until_complete, main())
        turns(loop, 4)
        loop.close()
    """,
    "SystemExit leaves in the same way": """
        loop = asyncio.new_event_loop()
        loop.call_soon(sys.exit, 3)
        loop.call_soon(say, "next")
        attempt(loop.run_forever)
        turns(loop)
        loop.close()
    """,
}


@pytest.mark.parametrize("state", STATES)
def test_ctrl_c_leaves_the_loop_as_in_asyncio(state: str) -> None:
    outcome = same_outcome(STATES[state])
    assert outcome.status == 0
    assert any("KeyboardInterrupt" in line or "SystemExit" in line for line in outcome.printed) or (
        "taken" in outcome.printed
    )


@pytest.mark.parametrize("state", ["a callback", "a step of a task", "asleep for ever", "twice"])
def test_it_does_so_in_debug_mode(state: str) -> None:
    same_outcome(STATES[state], "-X", "dev")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in 3.12")
def test_ctrl_c_in_an_eager_task_reaches_who_made_it() -> None:
    outcome = same_outcome("""
        loop = asyncio.new_event_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        async def child():
            ctrl_c()
        async def main():
            try:
                asyncio.create_task(child())
            except BaseException as error:
                say("main got", type(error).__name__)
                raise
        attempt(loop.run_until_complete, main())
        turns(loop, 2)
        loop.close()
    """)
    assert outcome.printed[-1].startswith("raised KeyboardInterrupt")
