"""CPython's own asyncio tests, judged against another engine.

The interpreter ships the tests that define asyncio. Running them with our loop, Task and Future in
the places of the C ones is the strongest claim of compatibility that we can make, and anyone can
check it with one command: ``python -m tests.conformance``.

How the parts fit, in the order of a run:

* ``suite``     finds the test modules of the running interpreter
* ``plan``      says under which engines they run
* ``lists``     reads the two lists that people write: ``exceptions.toml`` and ``not_yet.toml``
* ``process``   runs one module in a child process, watches it, and goes on behind a crash or a hang
* ``child``     is that process: it swaps the engine in (``swap``), then runs the tests
* ``baseline``  remembers how stock asyncio did on the same tests on this machine
* ``judge``     says of each test id which of the outcomes is ours to answer for
* ``report``    prints it
"""
