"""The network's family: random scripts for two ends of a connection, on two engines.

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
    compare.py     two engines to a verdict; shrink.py makes a difference small
    mutants.py     engines that are wrong on purpose

`python -m tests.differential --only network` runs many, `--show SEED` prints one.
"""
