"""What a run prints: progress, the summary, what to repair, and one plain line.

The last line stands alone and never changes its form, because `make test` and CI look for it.
"""

from __future__ import annotations

from pathlib import Path

from .judge import Failure, Judged, Verdict

#: Lines of a failure's traceback that are shown; the log has all of them.
SHOWN = 10


def progress(judged: Judged, done: int, of: int) -> str:
    """``[ 3/29] test_queues      58 passed, 2 FAILED (1.2 s)``."""
    said = ", ".join(
        f"{count} {verdict.value}" for verdict, count in judged.counts.items() if count
    )
    said = said or judged.note or "nothing to run"
    return f"[{done:{len(str(of))}}/{of}] {judged.module:<26} {said} ({judged.seconds:.1f} s)"


def table(results: list[Judged]) -> str:
    """The summary, a row per module."""
    heads = [verdict.value for verdict in Verdict]
    rows = [
        [judged.module, *(str(judged.counts[v] or ".") for v in Verdict)]
        for judged in sorted_by_name(results)
    ]
    totals = ["total", *(str(total(results, v)) for v in Verdict)]
    widths = [
        max(len(row[n]) for row in [["module", *heads], *rows, totals])
        for n in range(len(heads) + 1)
    ]

    def line(row: list[str]) -> str:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        return "  ".join(cells)

    rule = "-" * len(line(totals))
    return "\n".join([line(["module", *heads]), rule, *map(line, rows), rule, line(totals)])


def failures(results: list[Judged], logs: Path, *, verbose: bool) -> str:
    """Each unexpected outcome with the end of its traceback."""
    parts: list[str] = []
    for judged in sorted_by_name(results):
        for failure in judged.failures:
            lines = [line for line in failure.detail.splitlines() if line.strip()]
            shown = lines if verbose else lines[-SHOWN:]
            parts.append(
                "\n".join([f"{failure.id}: {failure.what}", *(f"    {line}" for line in shown)])
            )
        if judged.failures:
            parts.append(f"    (full text: {logs / (judged.module + '.log')})")
    return "\n".join(parts)


def pasteable(results: list[Judged], version: str) -> str:
    """The failed tests as entries for exceptions.toml; the reasons are for people to write."""
    by_test: dict[tuple[str, str], list[str]] = {}
    for failure in listable(results):
        module, cls, test = failure.id.split(".", 2)
        by_test.setdefault((module, test), []).append(cls)
    entries = [
        _entry(module, classes, test, version) for (module, test), classes in by_test.items()
    ]
    return "\n".join(entries)


def _entry(module: str, classes: list[str], test: str, version: str) -> str:
    named = ", ".join(f'"{cls}"' for cls in classes)
    return (
        f'[[exception]]\nmodule = "{module}"\nclasses = [{named}]\ntests = ["{test}"]\n'
        f'versions = ["{version}"]\nreason = ""\n'
    )


def listable(results: list[Judged]) -> list[Failure]:
    return [
        failure
        for judged in sorted_by_name(results)
        for failure in judged.failures
        if failure.listable
    ]


def final(results: list[Judged]) -> str:
    """The one line that says it all."""
    passed, failed, skipped = (
        total(results, v) for v in (Verdict.PASSED, Verdict.FAILED, Verdict.SKIPPED)
    )
    return f"conformance: {passed} passed, {failed} failed, {skipped} skipped"


def total(results: list[Judged], verdict: Verdict) -> int:
    return sum(judged.counts[verdict] for judged in results)


def sorted_by_name(results: list[Judged]) -> list[Judged]:
    return sorted(results, key=lambda judged: judged.module)
