"""Families apart: random scripts for the ends of connections and pipes, for children and signals.

A script is a list of rounds. In each round the ends act, all in one step of the loop; then nothing
is done until nothing happens any more, and only then comes the next round. So what is compared does
not depend on how fast an engine is, and is still every callback that a protocol gets, in order.
Reactions put acts into the callbacks themselves, where the interesting faults are.

    script.py      a script as plain data, and its text
    draw.py        choices (a seed) to a script
    trace.py       what a run leaves behind, and what of it is normalised, and why
    world.py       what all runs share: the loop, rounds, settling, reports
    transports.py  two transports, connected to each other
    streams.py     a reader and a writer, and a plain peer
    sockets.py     the loop's sock_* methods, and a plain peer
    tls.py         transports and streams over TLS, and handshakes that fail
    pipes.py       the two ends of a pipe, a FIFO or a terminal; held.py: those held by hand
    children.py    child processes; keeper.py: when a child has nothing more to do
    signals.py     signals of a process to itself
    families.py    all of these by name
    compare.py     two engines to a verdict; shrink() makes a difference small
    mutants.py     engines that are wrong on purpose; pipe_mutants.py and tls_mutants.py: more

`python -m tests.differential --only network` runs many, `--show SEED` prints one. The other
families are `tls`, `pipes`, `children` and `signals`.
"""
