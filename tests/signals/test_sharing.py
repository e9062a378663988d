"""One process, one descriptor for signals: several loops, forks, and programs that take it away."""

import pytest

from tests.signals.processes import outcomes, same_outcome

# Signals that do nothing by default, because most programs here take handlers away.
PROGRAMS = {
    "loops one after another": """
        for name in ("first", "second", "third"):
            loop = asyncio.new_event_loop()
            loop.add_signal_handler(signal.SIGURG, say, name)
            signal.raise_signal(signal.SIGURG)
            turns(loop, 3)
            if name != "second":
                say(loop.remove_signal_handler(signal.SIGURG))
            loop.close()
            say(signal.getsignal(signal.SIGURG) is signal.SIG_DFL, signal.set_wakeup_fd(-1))
    """,
    "runs one after another": """
        async def main(name):
            heard = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGURG, heard.set)
            kill_when_asleep(signal.SIGURG)
            await heard.wait()
            say(name)
        for name in ("first", "second"):
            asyncio.run(main(name))
            say(signal.getsignal(signal.SIGURG) is signal.SIG_DFL)
    """,
    "the loop that added last hears": """
        first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
        first.add_signal_handler(signal.SIGURG, say, "first")
        second.add_signal_handler(signal.SIGURG, say, "second")
        signal.raise_signal(signal.SIGURG)
        turns(first, 3)
        turns(second, 3)
        first.add_signal_handler(signal.SIGWINCH, say, "first again")
        signal.raise_signal(signal.SIGURG)
        signal.raise_signal(signal.SIGWINCH)
        turns(first, 3)
        turns(second, 3)
        first.close()
        second.close()
        say(signal.set_wakeup_fd(-1))
    """,
    "a loop is closed while another has handlers": """
        first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
        first.add_signal_handler(signal.SIGURG, say, "first")
        second.add_signal_handler(signal.SIGWINCH, say, "second")
        asyncio.new_event_loop().close()
        signal.raise_signal(signal.SIGWINCH)
        turns(second, 3)
        # The first takes the descriptor from the second with it, in asyncio too.
        first.close()
        signal.raise_signal(signal.SIGWINCH)
        turns(second, 3)
        say("not heard")
        second.add_signal_handler(signal.SIGWINCH, say, "second again")
        signal.raise_signal(signal.SIGWINCH)
        turns(second, 3)
        second.close()
    """,
    "the program takes the descriptor": """
        loop = asyncio.new_event_loop()
        loop.add_signal_handler(signal.SIGURG, say, "handled")
        source, sink = os.pipe()
        os.set_blocking(sink, False)
        before = signal.set_wakeup_fd(sink)
        say(before > 2)
        signal.raise_signal(signal.SIGURG)
        turns(loop, 3)
        say("the program has it", list(os.read(source, 10)))
        signal.set_wakeup_fd(before)
        signal.raise_signal(signal.SIGURG)
        turns(loop, 3)
        signal.set_wakeup_fd(sink)
        say(loop.remove_signal_handler(signal.SIGURG))
        say(signal.set_wakeup_fd(-1))
        loop.close()
    """,
    "the program had the descriptor before": """
        source, sink = os.pipe()
        os.set_blocking(sink, False)
        signal.set_wakeup_fd(sink)
        loop = asyncio.new_event_loop()
        loop.add_signal_handler(signal.SIGURG, say, "handled")
        signal.raise_signal(signal.SIGURG)
        turns(loop, 3)
        loop.close()
        say(signal.set_wakeup_fd(-1))
    """,
    "the program takes the signal": """
        loop = asyncio.new_event_loop()
        loop.add_signal_handler(signal.SIGURG, say, "the loop's")
        signal.signal(signal.SIGURG, lambda *_: say("the program's"))
        signal.raise_signal(signal.SIGURG)
        turns(loop, 3)
        loop.close()
        say(signal.getsignal(signal.SIGURG) is signal.SIG_DFL)
    """,
    "a handler is gone with its loop, and the signal kills": """
        loop = asyncio.new_event_loop()
        loop.add_signal_handler(signal.SIGTERM, say, "handled")
        signal.raise_signal(signal.SIGTERM)
        turns(loop, 3)
        loop.close()
        signal.raise_signal(signal.SIGTERM)
        say("never")
    """,
    "a loop that nobody closed": """
        import gc, warnings
        warnings.simplefilter("ignore")
        loop = asyncio.new_event_loop()
        loop.add_signal_handler(signal.SIGURG, say, "handled")
        del loop
        gc.collect()
        say(signal.getsignal(signal.SIGURG) is signal.SIG_DFL, signal.set_wakeup_fd(-1))
    """,
    "closed in another thread": """
        loop = asyncio.new_event_loop()
        loop.add_signal_handler(signal.SIGURG, say, "handled")
        thread = threading.Thread(target=attempt, args=(loop.close,))
        thread.start()
        thread.join()
        say(loop.is_closed())
    """,
    "added and removed in another thread": """
        loop = asyncio.new_event_loop()
        def elsewhere():
            attempt(loop.add_signal_handler, signal.SIGURG, say)
            attempt(loop.remove_signal_handler, signal.SIGURG)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        loop.close()
    """,
    "handlers are left when the interpreter ends": """
        loop = asyncio.new_event_loop()
        loop.add_signal_handler(signal.SIGURG, say, "handled")
        say("ends")
        sys.exit(3)
    """,
    "a fork that goes its own way": """
        loop = asyncio.new_event_loop()
        loop.add_signal_handler(signal.SIGURG, say, "handled")
        child = os.fork()
        if not child:
            own = asyncio.new_event_loop()
            own.add_signal_handler(signal.SIGURG, say, "handled in the child")
            signal.raise_signal(signal.SIGURG)
            turns(own, 3)
            own.close()
            os._exit(0)
        say(os.waitpid(child, 0)[1])
        turns(loop, 3)
        signal.raise_signal(signal.SIGURG)
        turns(loop, 3)
        loop.close()
    """,
    "a context variable in a handler": """
        import contextvars
        variable = contextvars.ContextVar("variable", default="unset")
        loop = asyncio.new_event_loop()
        def handler():
            say(variable.get())
            variable.set("changed by the handler")
        variable.set("when it was added")
        loop.add_signal_handler(signal.SIGURG, handler)
        variable.set("when it came")
        for _ in range(2):
            signal.raise_signal(signal.SIGURG)
            turns(loop, 3)
        say(variable.get())
        loop.close()
    """,
    "debug mode's report of a handler": """
        loop = asyncio.new_event_loop()
        loop.set_debug(True)
        def failing():
            1 / 0
        def add():
            loop.add_signal_handler(signal.SIGURG, failing)
        def report(loop, context):
            say(context["message"])
            say([frame.name for frame in context["source_traceback"]][-2:])
        loop.set_exception_handler(report)
        add()
        signal.raise_signal(signal.SIGURG)
        turns(loop, 3)
        loop.close()
    """,
}


@pytest.mark.parametrize("promise", PROGRAMS)
def test_signals_are_shared_as_in_asyncio(promise: str) -> None:
    same_outcome(PROGRAMS[promise])


def test_a_forked_childs_signals_are_not_the_parents() -> None:
    # Nor are they in asyncio from 3.12 on.
    outcome = outcomes("""
        loop = asyncio.new_event_loop()
        loop.add_signal_handler(signal.SIGURG, say, "handled")
        child = os.fork()
        if not child:
            signal.raise_signal(signal.SIGURG)
            os._exit(0)
        say(os.waitpid(child, 0)[1])
        turns(loop, 3)
        say("not heard")
        signal.raise_signal(signal.SIGURG)
        turns(loop, 3)
        loop.close()
    """)["aioxide"]
    assert outcome.printed == ["0", "not heard", "handled"]
    assert outcome.complained == []
