"""Ctrl-C under `asyncio.run()` and `Runner`: the main task is cancelled first, then it is serious.

The first Ctrl-C cancels the main task, which may clean up; when it ends by that, KeyboardInterrupt
is raised from `run()`. The second one raises KeyboardInterrupt at once, wherever the loop is. Each
version of Python has its own runner; aioxide's is that one.
"""

import pytest

from tests.signals.processes import same_outcome

RUNS = {
    "the main task sleeps": """
        async def main():
            kill_when_asleep(signal.SIGINT)
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError as error:
                say("cancelled", error.args, asyncio.current_task().cancelling())
                raise
            finally:
                await asyncio.sleep(0)
                say("cleaned up")
        attempt(asyncio.run, main())
        say(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    """,
    "the main task computes": """
        async def main():
            ctrl_c()
            say("still here", asyncio.current_task().cancelling())
            await asyncio.sleep(0)
            say("never")
        attempt(asyncio.run, main())
    """,
    "the main task ends without another await": """
        async def main():
            ctrl_c()
            return "result"
        attempt(asyncio.run, main())
    """,
    "the main task has not begun": """
        async def main():
            say("never")
        async def wait():
            await asyncio.sleep(0)
        with asyncio.Runner() as runner:
            runner.get_loop().call_soon(ctrl_c)
            attempt(runner.run, main())
            attempt(runner.run, wait())
    """,
    "the main task returns all the same": """
        async def main():
            ctrl_c()
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                return "survived"
        attempt(asyncio.run, main())
    """,
    "the main task fails in its own way": """
        async def main():
            ctrl_c()
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                raise ValueError("instead") from None
        attempt(asyncio.run, main())
    """,
    "the main task takes it back": """
        async def main():
            task = asyncio.current_task()
            ctrl_c()
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                say("uncancel", task.uncancel())
            await asyncio.sleep(0)
            return "went on"
        attempt(asyncio.run, main())
    """,
    "the main task is cancelled besides": """
        async def main():
            ctrl_c()
            asyncio.current_task().cancel("by hand")
            await asyncio.sleep(1000)
        attempt(asyncio.run, main())
    """,
    "the main task was cancelled before": """
        async def main():
            task = asyncio.current_task()
            task.cancel()
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                say("once", task.cancelling())
            ctrl_c()
            await asyncio.sleep(1000)
        attempt(asyncio.run, main())
    """,
    "the main task refuses, and it comes again": """
        async def main():
            while True:
                try:
                    kill_when_asleep(signal.SIGINT)
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    say("refused")
        attempt(asyncio.run, main())
    """,
    "twice in one callback": """
        async def main():
            loop = asyncio.get_running_loop()
            def twice():
                ctrl_c()
                say("first is only noted")
                ctrl_c()
            loop.call_soon(twice)
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                say("cancelled")
                raise
        attempt(asyncio.run, main())
    """,
    "the second one during the clean-up": """
        async def main():
            try:
                ctrl_c()
                await asyncio.sleep(1000)
            finally:
                say("cleaning up")
                try:
                    kill_when_asleep(signal.SIGINT)
                    await asyncio.sleep(1000)
                finally:
                    say("interrupted again")
        attempt(asyncio.run, main())
    """,
    "the second one in another task": """
        async def other():
            try:
                await asyncio.sleep(1000)
            finally:
                say("other ends")
        async def interrupts():
            await asyncio.sleep(0)
            ctrl_c()
            await asyncio.sleep(0)
            try:
                ctrl_c()
            except KeyboardInterrupt:
                say("it hit this one")
                raise
        async def main():
            tasks = [asyncio.create_task(other()), asyncio.create_task(interrupts())]
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                say("main cancelled")
                await asyncio.sleep(1000)
        attempt(asyncio.run, main())
    """,
    "the third one": """
        async def main():
            try:
                ctrl_c()
                await asyncio.sleep(1000)
            finally:
                try:
                    ctrl_c()
                except KeyboardInterrupt:
                    say("second")
                    try:
                        ctrl_c()
                    except KeyboardInterrupt:
                        say("third")
                await asyncio.sleep(0)
                say("still cleaning")
        attempt(asyncio.run, main())
    """,
    "a group": """
        async def child(name):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                say(name, "cancelled")
                raise
        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(child("one"))
                kill_when_asleep(signal.SIGINT)
        attempt(asyncio.run, main())
    """,
    "a group whose child fails meanwhile": """
        async def child():
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                raise ValueError("instead") from None
        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                kill_when_asleep(signal.SIGINT)
        attempt(asyncio.run, main())
    """,
    "gather": """
        async def child(name):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                say(name, "cancelled")
                raise
        async def main():
            kill_when_asleep(signal.SIGINT)
            await asyncio.gather(child("one"), child("two"), return_exceptions=True)
        attempt(asyncio.run, main())
    """,
    "wait_for, timeout and shield": """
        async def child():
            try:
                await asyncio.sleep(1000)
            finally:
                say("child ends")
        async def main():
            kill_when_asleep(signal.SIGINT)
            try:
                async with asyncio.timeout(1000):
                    await asyncio.wait_for(asyncio.shield(child()), 1000)
            except BaseException as error:
                say("main got", type(error).__name__)
                raise
        attempt(asyncio.run, main())
    """,
    "a job in a thread": """
        leave = threading.Event()
        def job():
            leave.wait()
            say("job ends")
        async def main():
            kill_when_asleep(signal.SIGINT)
            try:
                await asyncio.to_thread(job)
            finally:
                say("main ends")
                leave.set()
        attempt(asyncio.run, main())
    """,
    "a lock, a queue, an event": """
        async def main():
            lock, queue, event = asyncio.Lock(), asyncio.Queue(), asyncio.Event()
            async def holder():
                async with lock:
                    try:
                        await queue.get()
                    finally:
                        ended.append("holder")
            async def waiter():
                try:
                    await event.wait()
                finally:
                    ended.append("waiter")
            tasks = [asyncio.create_task(holder()), asyncio.create_task(waiter())]
            await asyncio.sleep(0)
            kill_when_asleep(signal.SIGINT)
            try:
                async with lock:
                    say("never")
            finally:
                say("main ends", lock.locked())
        ended = []
        attempt(asyncio.run, main())
        say(sorted(ended))
    """,
    "a task that is left over": """
        async def left_over():
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                await asyncio.sleep(0)
                say("cleaned up")
        async def main():
            task = asyncio.create_task(left_over())
            await asyncio.sleep(0)
            ctrl_c()
            await asyncio.sleep(1000)
        attempt(asyncio.run, main())
    """,
    "a task that is left over and fails": """
        async def left_over():
            try:
                await asyncio.sleep(1000)
            finally:
                1 / 0
        async def main():
            asyncio.get_running_loop().set_exception_handler(
                lambda _, report: say(report["message"], report["exception"])
            )
            task = asyncio.create_task(left_over())
            await asyncio.sleep(0)
            ctrl_c()
            await asyncio.sleep(1000)
        attempt(asyncio.run, main())
    """,
    "during the shutdown, in a task that is left over": """
        async def left_over():
            try:
                await asyncio.sleep(1000)
            finally:
                say("interrupted in its clean-up")
                ctrl_c()
        async def main():
            task = asyncio.create_task(left_over())
            await asyncio.sleep(0)
            return "main is done"
        attempt(asyncio.run, main())
        say(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    """,
    "during the shutdown, asleep": """
        async def left_over():
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                kill_when_asleep(signal.SIGINT)
                await asyncio.sleep(1000)
        async def main():
            tasks.append(asyncio.create_task(left_over()))
            await asyncio.sleep(0)
        tasks = []
        attempt(asyncio.run, main())
        say(tasks.pop().done())
    """,
    "during the shutdown, in an asynchronous generator": """
        async def generate():
            try:
                yield "begun"
            finally:
                say("closing")
                ctrl_c()
        async def main():
            say(await anext(generator))
            return "main is done"
        generator = generate()
        attempt(asyncio.run, main())
    """,
    "during the shutdown, in the executor": """
        def job():
            begun.set()
            leave.wait()
        begun, leave = threading.Event(), threading.Event()
        async def main():
            loop = asyncio.get_running_loop()
            loop.run_in_executor(None, job)
            begun.wait()
            def interrupt():
                leave.set()
                ctrl_c()
            shut_down = loop.shutdown_default_executor
            def shutting_down(*args):
                loop.call_soon(loop.call_soon, interrupt)
                return shut_down(*args)
            loop.shutdown_default_executor = shutting_down
        attempt(asyncio.run, main())
    """,
    "a handler of the program's own": """
        def own(number, frame):
            say("own handler", number)
        signal.signal(signal.SIGINT, own)
        async def main():
            ctrl_c()
            await asyncio.sleep(0)
            return "undisturbed"
        attempt(asyncio.run, main())
        say(signal.getsignal(signal.SIGINT) is own)
    """,
    "a handler of the program's own that raises": """
        class Stop(Exception):
            pass
        def own(number, frame):
            raise Stop
        signal.signal(signal.SIGINT, own)
        async def main():
            kill_when_asleep(signal.SIGINT)
            await asyncio.sleep(1000)
        attempt(asyncio.run, main())
    """,
    "ignored": """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        async def main():
            ctrl_c()
            await asyncio.sleep(0)
            return "undisturbed"
        attempt(asyncio.run, main())
        say(signal.getsignal(signal.SIGINT))
    """,
    "a handler that main() sets": """
        async def main():
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop.set)
            kill_when_asleep(signal.SIGINT)
            await stop.wait()
            return "stopped in order"
        attempt(asyncio.run, main())
        say(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    """,
    "a handler that main() sets and removes": """
        async def main():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGINT, say, "handled")
            ctrl_c()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            say(loop.remove_signal_handler(signal.SIGINT))
            try:
                ctrl_c()
            except KeyboardInterrupt:
                say("the default again, not the runner's")
            return "done"
        attempt(asyncio.run, main())
    """,
    "a handler that the main() sets by signal.signal": """
        async def main():
            loop = asyncio.get_running_loop()
            stop = asyncio.Event()
            signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(stop.set))
            kill_when_asleep(signal.SIGINT)
            await stop.wait()
            return "stopped"
        attempt(asyncio.run, main())
        say(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    """,
    "a loop in another thread": """
        leave = []
        def elsewhere():
            async def main():
                event = asyncio.Event()
                leave.append((asyncio.get_running_loop(), event))
                await event.wait()
                return "undisturbed"
            attempt(asyncio.run, main())
            leave.clear()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        while not leave:
            time.sleep(0.001)
        kill_when_asleep(signal.SIGINT)
        attempt(thread.join)
        loop, event = leave[0]
        loop.call_soon_threadsafe(event.set)
        # 3.11 takes a thread for done if join() was interrupted.
        while leave:
            time.sleep(0.001)
    """,
    "a runner that goes on": """
        async def interrupted():
            ctrl_c()
            await asyncio.sleep(1000)
        async def fine():
            return asyncio.current_task().cancelling()
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            for _ in range(2):
                attempt(runner.run, interrupted())
                attempt(runner.run, fine())
            say(runner.get_loop() is loop)
            attempt(ctrl_c)
            attempt(runner.run, fine())
        attempt(runner.run, fine())
    """,
    "a runner's context": """
        import contextvars
        number = contextvars.ContextVar("number", default=0)
        async def count():
            number.set(number.get() + 1)
            ctrl_c()
            await asyncio.sleep(1000)
        async def tell():
            return number.get()
        with asyncio.Runner() as runner:
            attempt(runner.run, count())
            attempt(runner.run, count())
            attempt(runner.run, tell())
    """,
    "a runner's own loop": """
        async def main():
            ctrl_c()
            await asyncio.sleep(1000)
        runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        attempt(runner.run, main())
        loop = runner.get_loop()
        runner.close()
        say(loop.is_closed())
    """,
    "nobody catches it": """
        async def main():
            say("main begins")
            ctrl_c()
            await asyncio.sleep(1000)
        asyncio.run(main())
    """,
    "SystemExit in a signal handler": """
        async def main():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, sys.exit, 7)
            signal.raise_signal(signal.SIGTERM)
            try:
                await asyncio.sleep(1000)
            finally:
                say("main ends")
        asyncio.run(main())
    """,
}

DEBUGGED = ["the main task sleeps", "twice in one callback", "a task that is left over"]


@pytest.mark.parametrize("run", RUNS)
def test_run_is_interrupted_as_in_asyncio(run: str) -> None:
    same_outcome(RUNS[run])


@pytest.mark.parametrize("run", DEBUGGED)
def test_it_is_in_debug_mode_too(run: str) -> None:
    same_outcome(RUNS[run], "-X", "dev")
