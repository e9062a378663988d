"""Leak tests: nothing grows, nothing is kept alive, no reference is counted wrong.

An engine in Rust under Python's reference counting can leak in ways that no functional test
sees. Three measures, each with its own blind spot:

    lifetimes.py   workloads, one for each way in which a task, future or handle can end
    coordination.py  the same for each way in which a wait ends
    network.py, tls.py, pipes.py, children.py  the same for connections, pipes and child processes
    memory.py      10 million lifetimes at flat memory: sees everything, but only in bulk
    refcounts.py   the interpreter's count of all references, under a debug build: sees one
                   reference in a million, but only references
    test_leaks.py  weakrefs die, cycles are collected, descriptors are closed: says which

`python -m tests.leaks` runs the memory measure, `--full` all ten million;
`scripts/debug-python python -m tests.leaks --refcounts` the reference count.
"""
