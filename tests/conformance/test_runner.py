"""The runner judged by its own tests: a judge that overlooks something is worse than none.

They run small suites written here, under an engine that is stock asyncio but for a marked Task, so
that a test can behave under "the engine" and misbehave under it, crash and hang included.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from tests.conformance import lists, plan, report, suite
from tests.conformance.__main__ import Setting, run_all, stray_entries
from tests.conformance.judge import Judged, Verdict
from tests.conformance.process import Limits, environment

# asyncio before _asyncio: up to 3.13, the other way round leaves asyncio with its Python functions.
ENGINE = """
import asyncio
import _asyncio
from tests.conformance.swap import Engine

class Loop(asyncio.SelectorEventLoop): pass
class Task(_asyncio.Task): pass
class Future(_asyncio.Future): pass

def current_task(loop=None):
    return _asyncio.current_task(loop)

def make():
    return Engine("marked", Loop, Task, Future, {"current_task": current_task})

class BrokenTask(_asyncio.Task):
    def get_name(self):
        return "somebody else"

def broken():
    return Engine("broken", task=BrokenTask)
"""

HEAD = """
import asyncio, os, signal, sys, time, unittest
import asyncio.tasks as tasks, asyncio.futures as futures
OURS = asyncio.Task.__name__ == "Task" and asyncio.Task.__module__ == "scratch_engine"
BROKEN = asyncio.Task.__name__ == "BrokenTask"
"""


class Bench:
    """A place for scratch suites, and the run of one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = folder / "scratch_suite"
        self.package.mkdir()
        (self.package / "__init__.py").touch()
        (folder / "scratch_engine.py").write_text(ENGINE)
        self.lists = lists.Lists([], [])

    def module(self, name: str, body: str) -> None:
        (self.package / f"{name}.py").write_text(HEAD + textwrap.dedent(body))

    def judge(self, engine: str = "scratch_engine:make", limit: float = 60.0) -> dict[str, Judged]:
        return {judged.module: judged for judged in self.judge_all([engine], limit)}

    def judge_all(self, engines: list[str], limit: float = 60.0) -> list[Judged]:
        scratch = suite.Suite("scratch_suite", self.package)
        settings = [
            Setting(
                suite=scratch,
                lists=self.lists,
                engine=engine,
                cache=self.folder / "cache",
                limits=Limits(limit, 60.0),
                path=(str(self.folder),),
            )
            for engine in engines
        ]
        modules = scratch.modules()
        runs = [(setting, module) for setting in settings for module in modules]
        return run_all(runs, 2, say=False) + stray_entries(self.lists, modules)

    def log(self, module: str, engine: str = "scratch_engine:make") -> str:
        return report.log_file(self.folder / "cache", engine, module).read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def counts(judged: Judged) -> dict[str, int]:
    return {verdict.name: count for verdict, count in judged.counts.items() if count}


def entry(target: str, *, engines: tuple[str, ...] = ()) -> lists.Entry:
    module, *rest = target.split(".")
    return lists.Entry(module, tuple(rest[:1]), tuple(rest[1:]), (), "because", engines=engines)


def test_every_kind_of_outcome_finds_its_verdict(bench: Bench) -> None:
    bench.module(
        "test_kinds",
        """
        class T(unittest.TestCase):
            def test_passes(self): pass
            def test_fails_with_us(self): self.assertFalse(OURS)
            def test_errs_with_us(self): OURS and 1 / 0
            def test_fails_everywhere(self): self.fail()
            def test_skips_everywhere(self): self.skipTest("no such thing here")
            def test_skips_with_us(self):
                if OURS: self.skipTest("not a BaseSelectorEventLoop")
            @unittest.expectedFailure
            def test_expected_to_fail(self): self.fail()
            @unittest.expectedFailure
            def test_unexpected_success(self): OURS or self.fail()
            def test_one_subtest_fails(self):
                for n in range(3):
                    with self.subTest(n=n): self.assertFalse(OURS and n == 1)
            def test_one_subtest_is_skipped(self):
                with self.subTest(n=1): self.skipTest("this one")
            def test_cleanup_fails(self): self.addCleanup(lambda: OURS and 1 / 0)
        """,
    )
    judged = bench.judge()["test_kinds"]
    assert counts(judged) == {"PASSED": 3, "SKIPPED": 1, "STOCK_FAILS": 1, "FAILED": 6}
    whats = {failure.id.rpartition(".")[2]: failure.what for failure in judged.failures}
    assert whats == {
        "test_fails_with_us": "failed",
        "test_errs_with_us": "error",
        "test_skips_with_us": "skipped, but stock runs it",
        "test_unexpected_success": "unexpected success",
        "test_one_subtest_fails": "failed",
        "test_cleanup_fails": "error",
    }
    details = {failure.id: failure.detail for failure in judged.failures}
    assert "ZeroDivisionError" in details["test_kinds.T.test_errs_with_us"]
    assert "(n=1)" in details["test_kinds.T.test_one_subtest_fails"]
    assert judged.stock_fails == ["test_kinds.T.test_fails_everywhere"]


def test_a_crash_is_blamed_on_its_test_and_the_rest_still_runs(bench: Bench) -> None:
    bench.module(
        "test_crash",
        """
        class T(unittest.TestCase):
            def test_1(self): pass
            def test_2(self): OURS and os.kill(os.getpid(), signal.SIGSEGV)
            def test_3(self): pass
            def test_4(self): OURS and os._exit(7)
            def test_5(self): pass
        """,
    )
    judged = bench.judge()["test_crash"]
    assert counts(judged) == {"PASSED": 3, "FAILED": 2}
    assert [failure.id for failure in judged.failures] == [
        "test_crash.T.test_2",
        "test_crash.T.test_4",
    ]
    assert all(failure.what == "crashed" for failure in judged.failures)
    assert "SIGSEGV" in judged.failures[0].detail
    assert "in test_2" in judged.failures[0].detail, "faulthandler's stack"
    assert judged.failures[1].detail.strip() == "exit status 7", "no other test's last words"


def test_a_hang_is_blamed_on_its_test_and_the_rest_still_runs(bench: Bench) -> None:
    bench.module(
        "test_hang",
        """
        class T(unittest.TestCase):
            def test_1(self): pass
            def test_2(self): OURS and time.sleep(600)
            def test_3(self): pass
        """,
    )
    judged = bench.judge(limit=1.0)["test_hang"]
    assert counts(judged) == {"PASSED": 2, "FAILED": 1}
    [failure] = judged.failures
    assert (failure.id, failure.what) == ("test_hang.T.test_2", "hung")
    assert "in test_2" in failure.detail, "faulthandler's stack"


def test_fixtures_speak_for_the_tests_that_they_keep_from_running(bench: Bench) -> None:
    bench.module(
        "test_class_fixtures",
        """
        class Fails(unittest.TestCase):
            @classmethod
            def setUpClass(cls): OURS and 1 / 0
            def test_1(self): pass
            def test_2(self): pass
        class Skips(unittest.TestCase):
            @classmethod
            def setUpClass(cls): raise unittest.SkipTest("not here")
            def test_1(self): pass
        @unittest.skip("never")
        class Skipped(unittest.TestCase):
            def test_1(self): pass
        class Fine(unittest.TestCase):
            def test_1(self): pass
        """,
    )
    bench.module(
        "test_module_fixture",
        """
        def setUpModule(): OURS and 1 / 0
        class T(unittest.TestCase):
            def test_1(self): pass
        """,
    )
    bench.module(
        "test_tear_down",
        """
        def tearDownModule(): OURS and 1 / 0
        class T(unittest.TestCase):
            def test_1(self): pass
        """,
    )
    judged = bench.judge()
    assert counts(judged["test_class_fixtures"]) == {"PASSED": 1, "SKIPPED": 2, "FAILED": 2}
    assert counts(judged["test_module_fixture"]) == {"FAILED": 1}
    assert counts(judged["test_tear_down"]) == {"PASSED": 1, "FAILED": 1}
    assert "tearDownModule" in judged["test_tear_down"].failures[0].what


def test_what_happens_outside_any_test_is_not_lost(bench: Bench) -> None:
    bench.module(
        "test_import",
        """
        if OURS: raise ImportError('no')
        class T(unittest.TestCase):
            def test_1(self): pass
            def test_2(self): pass
        """,
    )
    bench.module(
        "test_exit",
        """
        import atexit
        if OURS: atexit.register(os.kill, os.getpid(), signal.SIGSEGV)
        class T(unittest.TestCase):
            def test_1(self): pass
        """,
    )
    bench.module("test_other_platform", "raise unittest.SkipTest('Windows only')")
    bench.module(
        "test_gone",
        """
        class T(unittest.TestCase):
            def test_1(self): pass
            if not OURS:
                def test_2(self): pass
        """,
    )
    judged = bench.judge()
    [failure] = judged["test_import"].failures
    assert "could not be loaded" in failure.what
    assert counts(judged["test_import"]) == {"FAILED": 3}, "the tests that are lost with it count"
    assert counts(judged["test_exit"]) == {"PASSED": 1, "FAILED": 1}
    assert "on the way out: SIGSEGV" in judged["test_exit"].failures[0].what
    assert counts(judged["test_other_platform"]) == {}
    assert "Windows only" in judged["test_other_platform"].note
    assert "the engine loses it" in judged["test_gone"].failures[0].what


def test_the_lists_excuse_exactly_what_they_name(bench: Bench) -> None:
    bench.module(
        "test_listed",
        """
        class T(unittest.TestCase):
            def test_fails(self): self.assertFalse(OURS)
            def test_passes(self): pass
            def test_later(self): OURS and os._exit(1)
        """,
    )
    bench.module("test_whole", "class T(unittest.TestCase):\n    def test_1(self): 1 / 0\n")
    bench.lists = lists.Lists(
        exceptions=[
            entry("test_listed.T.test_fails"),
            entry("test_listed.T.test_passes"),
            entry("test_listed.T.test_unknown"),
            entry("test_missing.T.test_1"),
        ],
        not_yet=[entry("test_listed.T.test_later"), entry("test_whole")],
    )
    judged = bench.judge()
    assert counts(judged["test_listed"]) == {"EXCEPTION": 1, "NOT_YET": 1, "FAILED": 2}
    assert {(failure.id, failure.what) for failure in judged["test_listed"].failures} == {
        ("test_listed.T.test_passes", "passes: take it off exceptions.toml"),
        ("test_listed.T.test_unknown", "in a list, but no such test on this version"),
    }
    assert counts(judged["test_whole"]) == {"NOT_YET": 1}
    assert judged["the lists"].failures[0].id == "test_missing"


def test_an_entry_holds_for_the_engines_that_it_names(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench.module(
        "test_engines",
        """
        HERE = os.path.dirname(os.path.dirname(__file__))
        class T(unittest.TestCase):
            def test_both(self):
                self.assertFalse(OURS or BROKEN)
                with open(os.path.join(HERE, "runs"), "a") as runs: runs.write("x")
            def test_broken(self): self.assertFalse(BROKEN)
            def test_later(self): self.assertFalse(BROKEN)
            def test_marked(self): self.assertFalse(OURS)
        """,
    )
    marked, broken = engines = ("scratch_engine:make", "scratch_engine:broken")
    bench.lists = lists.Lists(
        exceptions=[
            entry("test_engines.T.test_both"),
            entry("test_engines.T.test_broken", engines=(marked,)),
            entry("test_engines.T.test_marked", engines=(marked,)),
        ],
        not_yet=[entry("test_engines.T.test_later", engines=(broken,))],
    )
    results = bench.judge_all([*engines])
    by_engine = {judged.engine: judged for judged in results}
    assert counts(by_engine[marked]) == {"PASSED": 1, "EXCEPTION": 2, "FAILED": 1}
    assert counts(by_engine[broken]) == {"PASSED": 1, "EXCEPTION": 1, "NOT_YET": 1, "FAILED": 1}
    assert [(failure.id, failure.what) for failure in by_engine[marked].failures] == [
        ("test_engines.T.test_broken", "passes: take it off exceptions.toml")
    ]
    [failure] = by_engine[broken].failures
    assert failure.id == "test_engines.T.test_broken"
    assert (bench.folder / "runs").read_text() == "x", "stock runs once for all engines"

    # What is printed says which engine it is of, and an entry for pasting does.
    table = [line.split() for line in report.table(results).splitlines()]
    assert ["total,", broken, "1", "1", "0", "0", "1", "1"] in table
    assert table[-1] == ["total", "2", "3", "0", "0", "1", "2"]
    assert f"test_broken ({broken}): failed" in report.failures(
        results, bench.folder, verbose=False
    )
    path = tmp_path / "exceptions.toml"
    path.write_text(report.pasteable(results, "3.13").replace('reason = ""', 'reason = "r"'))
    with pytest.raises(lists.BadList, match="has no engine"):
        lists.read(path, "exception", whole=False)
    monkeypatch.setattr(plan, "ENGINES", engines)
    [listed] = lists.read(path, "exception", whole=False)
    assert (listed.targets(), listed.engines) == (["test_engines.T.test_broken"], (broken,))


def test_a_failure_under_every_engine_is_printed_for_all_of_them(bench: Bench) -> None:
    bench.module(
        "test_all",
        """
        class T(unittest.TestCase):
            def test_1(self): self.assertFalse(OURS or BROKEN)
        """,
    )
    printed = report.pasteable(
        bench.judge_all(["scratch_engine:make", "scratch_engine:broken"]), "3.13"
    )
    assert printed.count("test_1") == 1
    assert "engines" not in printed


def test_every_engine_of_the_plan_puts_aioxide_where_it_says(bench: Bench) -> None:
    bench.module(
        "test_places",
        """
        def places():
            aioxide = sys.modules["aioxide"]
            loop = asyncio.new_event_loop()
            loop.close()
            return {
                "loop": type(loop) is aioxide.EventLoop,
                "Task": asyncio.Task is aioxide.Task,
                "_CTask": tasks._CTask is aioxide.Task,
                "_PyTask": tasks._PyTask is aioxide.Task,
                "Handle": asyncio.Handle is aioxide.Handle,
                "Lock": asyncio.Lock is aioxide.Lock,
                "gather": asyncio.gather is tasks.gather is aioxide.gather,
            }
        class T(unittest.TestCase):
            @unittest.skipUnless("aioxide" in sys.modules, "stock")
            def test_places(self):
                print("PLACES", *(name for name, ours in places().items() if ours), flush=True)
        """,
    )
    expected = {
        "aioxide": "loop Task _CTask",
        "aioxide-all": "loop Task _CTask Lock gather",
        "aioxide-installed": "loop Task Lock gather",
    }
    assert tuple(expected) == plan.ENGINES
    assert not [judged for judged in bench.judge_all([*expected]) if judged.failures]
    for engine, names in expected.items():
        assert f"PLACES {names}\n" in bench.log("test_places", engine)


def test_the_swap_reaches_every_name_that_tests_use(bench: Bench) -> None:
    bench.module(
        "test_swap",
        """
        import selectors
        class T(unittest.TestCase):
            def test_classes(self):
                for cls in asyncio.Task, tasks.Task, tasks._CTask, asyncio.Future, futures._CFuture:
                    self.assertEqual(cls.__module__, "scratch_engine")
                self.assertNotEqual(tasks._PyTask.__module__, "scratch_engine")
            def test_loops(self):
                loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
                self.assertEqual(type(loop).__module__, "scratch_engine")
                self.assertIsInstance(loop, asyncio.SelectorEventLoop)
                loop.close()
                with self.assertRaises(TypeError):
                    class Loop(asyncio.SelectorEventLoop): pass
            def test_run_and_the_names_behind_it(self):
                async def main():
                    return asyncio.get_running_loop(), asyncio.current_task()
                for made in asyncio.run(main()):
                    self.assertEqual(type(made).__module__, "scratch_engine")
            @unittest.skipIf(sys.version_info < (3, 12), "has no eager tasks")
            def test_eager_tasks(self):
                async def main():
                    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
                    return asyncio.create_task(asyncio.sleep(0))
                self.assertEqual(type(asyncio.run(main())).__module__, "scratch_engine")
            @unittest.skipIf(sys.version_info < (3, 12), "current_task is pure Python")
            def test_functions(self):
                for function in asyncio.current_task, tasks._c_current_task:
                    self.assertEqual(function.__module__, "scratch_engine")
        """,
    )
    # Stock fails these on purpose, so they are judged by the log and not by their verdicts.
    bench.judge()
    outcomes = bench.log("test_swap")
    assert outcomes.count("--- ") == 5
    assert "Traceback" not in outcomes, outcomes


def test_stock_is_remembered_and_its_failures_are_believed_the_second_time(bench: Bench) -> None:
    bench.module(
        "test_flaky",
        """
        HERE = os.path.dirname(os.path.dirname(__file__))
        class T(unittest.TestCase):
            def test_fails_once(self):
                if not OURS:
                    with open(os.path.join(HERE, "runs"), "a+") as runs:
                        runs.write("x")
                        runs.seek(0)
                        self.assertGreater(len(runs.read()), 1)
        """,
    )
    assert counts(bench.judge()["test_flaky"]) == {"PASSED": 1}
    assert counts(bench.judge()["test_flaky"]) == {"PASSED": 1}
    assert (bench.folder / "runs").read_text() == "xx"


def test_a_broken_task_fails_the_real_suite(bench: Bench) -> None:
    # The whole way, on the interpreter's own tests: green on stock, red on a Task with one fault.
    try:
        found = suite.find()
    except suite.NoSuite as error:
        pytest.skip(str(error))
    setting = Setting(
        suite=found,
        lists=bench.lists,
        engine="scratch_engine:broken",
        cache=bench.folder / "cache",
        pattern="CTask_CFuture_Tests.test_task",
        path=(str(bench.folder),),
    )
    [judged] = run_all([(setting, "test_tasks")], 1, say=False)
    assert judged.counts[Verdict.PASSED] > 0
    failed = {failure.id for failure in judged.failures}
    assert "test_tasks.CTask_CFuture_Tests.test_task_repr_name_not_str" in failed, report.failures(
        [judged], setting.cache, verbose=True
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[[exception]]\nid = "test_x.T.test_y"', "no reason"),
        ('[[exception]]\nid = "test_x.T"\nreason = "r"', "module.Class.test"),
        ('[[exception]]\nid = "a.b.c"\ntests = ["d"]\nreason = "r"', "stands alone"),
        ('[[exception]]\nmodule = "test_x"\nclasses = ["T"]\nreason = "r"', "name the tests"),
        ('[[exception]]\nmodule = "test_x"\ntests = ["t"]\nreason = "r"', "without classes"),
        ('[[exception]]\nid = "test_x.T.test_*"\nreason = "r"', "exact names"),
        ('[[exception]]\nid = "a.b.c"\nversion = ["3.11"]\nreason = "r"', "unknown key"),
        ('[[exception]]\nid = "a.b.c"\nversions = ["3.1"]\nreason = "r"', "unknown version"),
        ('[[exception]]\nid = "a.b.c"\nengines = ["uvloop"]\nreason = "r"', "no engine uvloop"),
        ('[[exception]]\nid = "a.b.c"\nengines = "aioxide"\nreason = "r"', "exact names"),
        ('[[exception]]\nid = "a.b.c"\nengine = ["aioxide"]\nreason = "r"', "unknown key"),
        ('[[exceptions]]\nid = "a.b.c"\nreason = "r"', "only [[exception]] is known"),
        ("[[exception", "exceptions.toml"),
    ],
)
def test_a_sloppy_entry_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "exceptions.toml"
    path.write_text(text)
    with pytest.raises(lists.BadList) as refused:
        lists.read(path, "exception", whole=False)
    assert complaint in str(refused.value)


@pytest.mark.parametrize("version", lists.VERSIONS)
def test_our_own_lists_can_be_read(version: str) -> None:
    lists.load(Path(__file__).parent, version)


def test_what_is_printed_for_pasting_can_be_read_but_for_the_reason(
    bench: Bench, tmp_path: Path
) -> None:
    bench.module(
        "test_paste",
        """
        class A(unittest.TestCase):
            def test_1(self): self.assertFalse(OURS)
        class B(A): pass
        """,
    )
    results = list(bench.judge().values())
    printed = report.pasteable(results, "3.13")
    path = tmp_path / "exceptions.toml"
    path.write_text(printed)
    with pytest.raises(lists.BadList, match="no reason"):
        lists.read(path, "exception", whole=False)
    path.write_text(printed.replace('reason = ""', 'reason = "r"'))
    [listed] = lists.read(path, "exception", whole=False)
    assert listed.targets() == ["test_paste.A.test_1", "test_paste.B.test_1"]
    assert listed.versions == ("3.13",)
    assert report.final(results) == "conformance: 0 passed, 2 failed, 0 skipped"


def test_children_do_not_inherit_what_changes_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    monkeypatch.setenv("PYTHONPATH", "/somewhere:python")
    assert "PYTHONASYNCIODEBUG" not in environment(debug=False)
    assert environment(debug=False)["PYTHONPATH"] == f"/somewhere:{Path.cwd() / 'python'}"
    assert environment(debug=True)["PYTHONASYNCIODEBUG"] == "1"
