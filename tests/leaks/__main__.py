"""`python -m tests.leaks`: memory by default, `--refcounts` under a debug interpreter.

The default number of lifetimes is for every test run; `--full` is the ten million that the
project promises. AIOXIDE_LIFETIMES sets another default.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from typing import TYPE_CHECKING

from tests.differential import engines
from tests.leaks import memory, refcounts

if TYPE_CHECKING:
    from collections.abc import Sequence

FULL = 10_000_000
DEFAULT = int(os.environ.get("AIOXIDE_LIFETIMES", "500000"))


def main() -> int:
    """Run what the arguments say; the exit code is 1 when anything grew."""
    parser = argparse.ArgumentParser(prog="python -m tests.leaks", description=__doc__)
    parser.add_argument("--lifetimes", type=int, default=DEFAULT, metavar="N")
    parser.add_argument("--full", action="store_true", help=f"{FULL} lifetimes")
    parser.add_argument("--refcounts", action="store_true", help="count references instead")
    parser.add_argument("--engine", default="aioxide", choices=engines.names())
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    engine = engines.engine(options.engine)
    results: Sequence[memory.Growth | refcounts.Counts]
    if options.refcounts:
        if refcounts.total is None:
            parser.error("--refcounts needs a debug build of Python: use scripts/debug-python")
        results = refcounts.measure_all(engine)
    else:
        results = memory.measure_all(engine, FULL if options.full else options.lifetimes)
    failed = sum(not result.passed for result in results)
    print(f"leaks: {len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
