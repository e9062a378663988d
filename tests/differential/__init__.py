"""Differential testing: the same generated program on stock asyncio and on another engine.

asyncio's exact order of events is what programs rely on without knowing it, and no list of
hand-written tests holds all of it. So programs are generated, run on both engines, and what
they saw must be equal to the letter. `python -m tests.differential --help` runs many;
`pytest tests/differential` runs a few, and proves on broken engines that the test can fail.

The parts, in the order in which data flows through them:

    catalogue.py   the operations: how each is weighed, drawn and printed, in families
    program.py     a program as plain data, and its text
    generate.py    choices (a seed, or hypothesis) to a program
    world.py       one run: the objects a program works on, and the trace it leaves
    primitives.py  the locks, queues and so on among these objects; tidy.py: their reprs and
                   others, without what may differ; cancel.py: cancellation at an exact point
    interpret.py   what runs a program's blocks, by the operations in
                       actions.py, waits.py      the plain ones, that wait and that do not
                       combinators.py            gather, wait_for, timeout, TaskGroup ...
                       coordination.py           Lock, Event, Condition, Queue ...
                       threads.py                to_thread and concurrent futures
    execute.py     a program and an engine to a trace
    engines.py     stock, pure Python, aioxide; mutants.py and primitive_mutants.py: engines and
                   primitives that are wrong on purpose
    compare.py     two engines to a verdict, also with a cancellation at every point in turn;
                   shrink.py makes a difference small
    network/       families apart, with programs of their own: both ends of connections and pipes,
                   TLS, child processes, signals
    workers.py     spreads programs over processes, and survives crashes and hangs
"""
