"""`python -m tests.differential`: thousands of programs on two engines, from the command line.

Each program has a seed, so a failure is named by a number: `--show SEED` prints its program,
and `--seed SEED --programs 1` runs it alone. `--only lock,queue` makes programs about these
families alone; `--sweep-every 1` cancels every task of every program at every point.

`--only network`, `tls`, `pipes`, `children` and `signals` are families apart, each to be asked for
alone: scripts for the ends of connections and pipes, for child processes and signals. Without
`--only` there are programs of all other families and then scripts of each of these.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.differential import engines, workers
from tests.differential.catalogue import FAMILIES
from tests.differential.generate import seeded
from tests.differential.network import families, script
from tests.differential.program import render

MOST_REPORTS = 20
TOO_MANY = 200


def _families(text: str) -> tuple[str, ...]:
    """The families that an argument names."""
    chosen = tuple(text.split(","))
    if len(chosen) == 1 and chosen[0] in families.FAMILIES:
        return chosen
    unknown = [family for family in chosen if family not in FAMILIES]
    if unknown:
        raise argparse.ArgumentTypeError(f"no such family: {', '.join(unknown)}")
    return chosen


def _scripted(only: tuple[str, ...]) -> bool:
    """Whether what is asked for is a family of scripts."""
    return bool(only) and only[0] in families.FAMILIES


def main() -> int:
    """Run what the arguments say; the exit code is 1 when anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--programs", type=int, default=20_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--engine", default="aioxide", choices=engines.names())
    parser.add_argument("--reference", default="stock", choices=engines.names())
    parser.add_argument("--show", type=int, metavar="SEED", help="print a seed's program")
    parser.add_argument(
        "--only",
        type=_families,
        default=(),
        metavar="FAMILIES",
        help=", ".join((*FAMILIES, *families.FAMILIES)),
    )
    parser.add_argument("--sweep-every", type=int, default=100, metavar="N", help="0 for never")
    options = parser.parse_args()
    if options.show is not None:
        if _scripted(options.only):
            print(script.render(families.seeded(options.show, options.only[0])))
        else:
            print(render(seeded(options.show, options.only)))
        return 0
    engines.engine(options.engine)  # fails here, not in every worker, when it is not built

    shares = [(options.only, options.programs)]
    if not options.only:
        for name, family in families.FAMILIES.items():
            shares.append(((name,), options.programs // family.programs_per_script))
    failed = 0
    for only, count in shares:
        failed += _run(options, only, count)
    total = sum(count for _, count in shares)
    print(f"differential: {total - failed} passed, {failed} failed")
    return 1 if failed else 0


def _run(options: argparse.Namespace, only: tuple[str, ...], count: int) -> int:
    """Run so many programs of some families; how many failed."""
    began = time.monotonic()
    failures = []
    undecided = swept = 0
    job = workers.Job(
        options.reference,
        options.engine,
        options.seed,
        options.seed + count,
        1,
        only,
        options.sweep_every,
    )
    for result in workers.run(job, options.jobs):
        if isinstance(result, workers.Tally):
            undecided += result.undecided
            swept += result.swept
            continue
        failures.append(result)
        if len(failures) <= MOST_REPORTS:
            print(result.text, end="\n\n", flush=True)
        if len(failures) == TOO_MANY:
            print(f"stopped: {TOO_MANY} failures say enough; what passed was not counted")
            return TOO_MANY
    seconds = time.monotonic() - began
    kind = f"scripts of {only[0]}" if _scripted(only) else "programs"
    print(f"{options.reference} and {options.engine}, Python {sys.version.split()[0]}: ", end="")
    print(f"{count} {kind} from seed {options.seed} in {seconds:.1f} s")
    if swept:
        print(f"{swept} cancellations, each at another point of some program")
    if undecided:
        print(f"{undecided} of them undecided: the reference did not agree with itself")
    return len({failure.seed for failure in failures})


if __name__ == "__main__":
    sys.exit(main())
