"""What a run prints: progress, the summary, what to repair, and one plain line.

The last line stands alone and never changes its form, because `make test` and CI look for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .judge import Judged, Verdict

#: Lines of a failure's traceback that are shown; the log has all of them.
SHOWN = 10


def progress(judged: Judged, done: int, of: int) -> str:
    """``[ 3/69] aioxide-all        test_queues      58 passed, 2 FAILED (1.2 s)``."""
    said = ", ".join(
        f"{count} {verdict.value}" for verdict, count in judged.counts.items() if count
    )
    said = said or judged.note or "nothing to run"
    counter = f"[{done:{len(str(of))}}/{of}]"
    return f"{counter} {judged.engine:<17} {judged.module:<26} {said} ({judged.seconds:.1f} s)"


def table(results: list[Judged]) -> str:
    """The summary: a row per module, engine by engine, and the totals."""
    rows = [["", *(verdict.value for verdict in Verdict)]]
    engines = engines_of(results)
    for engine in engines:
        own = [judged for judged in results if judged.engine == engine]
        rows.append([])
        rows += [_row(judged.module, [judged], zero=".") for judged in sorted_by_name(own)]
        rows.append(_row(f"total, {engine}" if engine else "total", own))
    if len(engines) > 1:
        rows += [[], _row("total", results)]
    widths = [max(len(row[n]) for row in rows if row) for n in range(len(rows[0]))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join(_line(row, widths) if row else rule for row in rows)


def _row(name: str, results: list[Judged], zero: str = "0") -> list[str]:
    return [name, *(str(total(results, verdict) or zero) for verdict in Verdict)]


def _line(row: list[str], widths: list[int]) -> str:
    cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join([row[0].ljust(widths[0]), *cells[1:]])


def failures(results: list[Judged], logs: Path, *, verbose: bool) -> str:
    """Each unexpected outcome with the end of its traceback; ``logs`` has a folder per engine."""
    parts: list[str] = []
    for judged in sorted_by_name(results):
        for failure in judged.failures:
            lines = [line for line in failure.detail.splitlines() if line.strip()]
            shown = lines if verbose else lines[-SHOWN:]
            under = f" ({judged.engine})" if judged.engine else ""
            head = f"{failure.id}{under}: {failure.what}"
            parts.append("\n".join([head, *(f"    {line}" for line in shown)]))
        if judged.failures and judged.engine:
            parts.append(f"    (full text: {log_file(logs, judged.engine, judged.module)})")
    return "\n".join(parts)


def pasteable(results: list[Judged], version: str) -> str:
    """The failed tests as entries for exceptions.toml; the reasons are for people to write."""
    engines: dict[str, list[str]] = {}
    for judged in sorted_by_name(results):
        for failure in judged.failures:
            if failure.listable:
                engines.setdefault(failure.id, []).append(judged.engine)
    classes: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for test_id, under in engines.items():
        module, cls, test = test_id.split(".", 2)
        tried = engines_of([judged for judged in results if judged.module == module])
        only = () if under == tried else tuple(under)
        classes.setdefault((module, test, only), []).append(cls)
    return "\n".join(_entry(*key, each, version) for key, each in classes.items())


def _entry(module: str, test: str, engines: tuple[str, ...], classes: list[str], ver: str) -> str:
    lines = [
        "[[exception]]",
        f'module = "{module}"',
        f"classes = [{_quoted(classes)}]",
        f'tests = ["{test}"]',
        f'versions = ["{ver}"]',
        *([f"engines = [{_quoted(engines)}]"] if engines else []),
        'reason = ""',
    ]
    return "\n".join(lines) + "\n"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def final(results: list[Judged]) -> str:
    """The one line that says it all."""
    passed, failed, skipped = (
        total(results, v) for v in (Verdict.PASSED, Verdict.FAILED, Verdict.SKIPPED)
    )
    return f"conformance: {passed} passed, {failed} failed, {skipped} skipped"


def total(results: list[Judged], verdict: Verdict) -> int:
    return sum(judged.counts[verdict] for judged in results)


def sorted_by_name(results: list[Judged]) -> list[Judged]:
    return sorted(results, key=lambda judged: (judged.module, judged.engine))


def engines_of(results: list[Judged]) -> list[str]:
    """The engines in ``results``, sorted."""
    return sorted({judged.engine for judged in results})


def log_file(logs: Path, engine: str, module: str) -> Path:
    """Where what a module printed under an engine is kept."""
    return logs / engine.replace(":", "-") / f"{module}.log"
