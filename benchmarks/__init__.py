"""aioxide's benchmark: every engine, the same workloads, one interleaved run.

`python -m benchmarks` from the root of the repository; `--help` lists what it can do besides.
It is a package and not a script so that each file keeps one reason to exist.
"""
