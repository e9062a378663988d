"""Programs that stop when they are told to: a signal, cancel what runs, wait for it, leave."""

import pytest

from tests.signals.processes import same_outcome

PROGRAMS = {
    "the handler cancels every task": """
        async def worker(number):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                closed.append(number)
                raise
        async def shut_down():
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            say(sorted(closed), {type(result).__name__ for result in results})
            asyncio.get_running_loop().stop()
        closed = []
        loop = asyncio.new_event_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: loop.create_task(shut_down()))
        tasks = [loop.create_task(worker(number)) for number in range(5)]
        kill_when_asleep(signal.SIGTERM)
        loop.run_forever()
        loop.close()
        say("closed")
    """,
    "the handler cancels the main task too": """
        async def shut_down(number):
            say("stopping on", signal.Signals(number).name)
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            asyncio.get_running_loop().stop()
            say("stopped")
        async def main():
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(
                    number, lambda number=number: asyncio.create_task(shut_down(number))
                )
            kill_when_asleep(signal.SIGINT)
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                say("main cancelled")
                raise
        attempt(asyncio.run, main())
    """,
    "an event ends the main task": """
        async def main():
            loop = asyncio.get_running_loop()
            stop = asyncio.Event()
            loop.add_signal_handler(signal.SIGTERM, stop.set)
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(asyncio.sleep(1000)) for _ in range(3)]
                kill_when_asleep(signal.SIGTERM)
                await stop.wait()
                for worker in workers:
                    worker.cancel()
            return [worker.cancelled() for worker in workers]
        attempt(asyncio.run, main())
    """,
    "the handler cancels the main task, which finishes its work": """
        async def main():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
            queue = asyncio.Queue()
            for job in range(3):
                queue.put_nowait(job)
            kill_when_asleep(signal.SIGTERM)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                while not queue.empty():
                    say("job", await queue.get())
            return "all done"
        attempt(asyncio.run, main())
    """,
    "the second signal is serious": """
        async def main():
            loop = asyncio.get_running_loop()
            task = asyncio.current_task()
            def first():
                say("stopping; once more to stop at once")
                loop.remove_signal_handler(signal.SIGINT)
                kill_when_asleep(signal.SIGINT)
                task.cancel()
            loop.add_signal_handler(signal.SIGINT, first)
            kill_when_asleep(signal.SIGINT)
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(1000)
        attempt(asyncio.run, main())
    """,
    "a server with open connections": """
        async def serve(reader, writer):
            served.add(asyncio.current_task())
            try:
                while line := await reader.readline():
                    writer.write(line)
            except asyncio.CancelledError:
                say("a connection ends")
            finally:
                writer.write(b"bye\\n")
                writer.close()
        async def main():
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            connections = []
            for _ in range(3):
                connections.append(await asyncio.open_connection(*server.sockets[0].getsockname()))
                connections[-1][1].write(b"hello\\n")
                say(await connections[-1][0].readline())
            kill_when_asleep(signal.SIGTERM)
            await stop.wait()
            server.close()
            for task in served:
                task.cancel()
            await asyncio.gather(*served, return_exceptions=True)
            for reader, writer in connections:
                say(await reader.read())
                writer.close()
                await writer.wait_closed()
            await server.wait_closed()
        served = set()
        asyncio.run(main())
    """,
    "children are stopped first": """
        async def main():
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            children = [
                await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1) for _ in range(3)
            ]
            kill_when_asleep(signal.SIGTERM)
            await stop.wait()
            children[0].terminate()
            children[1].kill()
            outputs = await asyncio.gather(*(child.communicate(b'') for child in children))
            say(outputs)
            return [child.returncode for child in children]
        attempt(asyncio.run, main())
    """,
    "threads are waited for": """
        leave = threading.Event()
        def job():
            leave.wait()
            say("job done")
        async def main():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, leave.set)
            kill_when_asleep(signal.SIGTERM)
            await asyncio.gather(*(asyncio.to_thread(job) for _ in range(3)))
            return "all done"
        attempt(asyncio.run, main())
    """,
    "generators are closed": """
        async def ticks():
            try:
                while True:
                    yield
                    await asyncio.sleep(0)
            finally:
                say("generator closed")
        async def main():
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
            count = 0
            async for _ in generator:
                count += 1
                if count == 10:
                    signal.raise_signal(signal.SIGTERM)
        generator = ticks()
        attempt(asyncio.run, main())
    """,
    "a handler after another, each once": """
        async def main():
            loop = asyncio.get_running_loop()
            done = asyncio.Event()
            order = [signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM]
            def handler(number):
                say(signal.Signals(number).name)
                loop.remove_signal_handler(number)
                if number == order[-1]:
                    done.set()
                else:
                    kill_when_asleep(order[order.index(number) + 1])
            for number in order:
                loop.add_signal_handler(number, handler, number)
            kill_when_asleep(order[0])
            await done.wait()
        attempt(asyncio.run, main())
    """,
}


@pytest.mark.parametrize("promise", PROGRAMS)
def test_a_program_stops_as_on_asyncio(promise: str) -> None:
    outcome = same_outcome(PROGRAMS[promise])
    assert outcome.status == 0
    assert outcome.complained == []
