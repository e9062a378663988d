"""A program run as `python` itself would run it: a script, a module, a piece of code.

The program becomes `__main__` in a module of its own, as under plain `python`: `sys.argv`,
`sys.path[0]`, `__file__` and `__spec__` are what they would be, pickle and multiprocessing find
it, and a traceback begins at the program's first line. Not `runpy.run_path()`: that takes the
module away again when the file ends, while threads and atexit functions still use it.
"""

import importlib.machinery
import io
import os
import pkgutil
import runpy
import sys
from pathlib import Path
from types import ModuleType, TracebackType
from typing import NoReturn

# What stands above the program's first line in a traceback: these files call it.
_CALLERS = {str(Path(__file__).with_name(name)) for name in ("__main__.py", "command.py")}


def run_script(script: str, args: list[str]) -> None:
    """Do what `python script args` does."""
    # The interpreter makes it absolute and leaves it at that: "./x.py" keeps its dot.
    path = os.path.join(os.getcwd(), script)  # noqa: PTH109, PTH118
    sys.argv[:] = [script, *args]
    if pkgutil.get_importer(path) is not None:  # a folder or a zip file with a __main__.py
        if sys.flags.safe_path:
            sys.path.insert(0, path)  # even so: without it there is nothing to run
        _set_first_path(path)
        _run_as_main("__main__", alter_argv=False)
        return
    _set_first_path(str(Path(path).resolve().parent))
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as exc:
        _give_up(f"can't open file {path!r}: [Errno {exc.errno}] {exc.strerror}")
    main_module = _new_main()
    main_module.__file__ = path
    main_module.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    main_module.__dict__["__cached__"] = None
    _execute(source, path, main_module)


def run_module(name: str, args: list[str]) -> None:
    """Do what `python -m name args` does."""
    sys.argv[:] = ["-m", *args]  # runpy puts the module's path here once it has found it
    _set_first_path(os.getcwd())  # noqa: PTH109
    _run_as_main(name, alter_argv=True)


def run_code(code: str, args: list[str]) -> None:
    """Do what `python -c code args` does."""
    sys.argv[:] = ["-c", *args]
    _set_first_path("")
    main_module = _new_main()
    main_module.__loader__ = importlib.machinery.BuiltinImporter
    _execute(code, "<string>", main_module)


def _new_main() -> ModuleType:
    module = ModuleType("__main__")
    module.__dict__["__builtins__"] = sys.modules["builtins"]
    if sys.version_info < (3, 14):
        module.__dict__["__annotations__"] = {}  # noqa: RUF063
    sys.modules["__main__"] = module
    return module


def _execute(source: bytes | str, name: str, module: ModuleType) -> None:
    with _shortened_tracebacks():
        exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)  # noqa: S102


def _run_as_main(name: str, *, alter_argv: bool) -> None:
    # The interpreter's own entry for -m, folders and zip files; fills the __main__ that is there.
    _new_main()
    with _shortened_tracebacks():
        runpy._run_module_as_main(name, alter_argv)  # type: ignore[attr-defined]  # noqa: SLF001


def _set_first_path(entry: str) -> None:
    # What is there now was put there for us: the folder of the `aioxide` command, or the current
    # one for `python -m aioxide`. With -P or PYTHONSAFEPATH there is no such entry.
    if not sys.flags.safe_path:
        sys.path[:1] = [entry]


def _give_up(message: str) -> NoReturn:
    sys.stderr.write(f"{sys.executable}: {message}\n")
    raise SystemExit(2)


class _shortened_tracebacks:  # noqa: N801
    """Take aioxide's own frames and runpy's off the top of the traceback of a program that fails.

    The exception goes on its way, so the interpreter still ends as for any program (a signal's
    status for KeyboardInterrupt, the program's own `sys.excepthook`); only what that hook is shown
    is shorter. It is wrapped at the last moment, so that programs never see it wrapped.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, SystemExit):
            return
        show = sys.excepthook

        def excepthook(
            kind: type[BaseException], error: BaseException, trace: TracebackType | None
        ) -> None:
            while trace is not None and _is_ours(trace):
                trace = trace.tb_next
            show(kind, error.with_traceback(trace), trace)

        sys.excepthook = excepthook


def _is_ours(trace: TracebackType) -> bool:
    file = trace.tb_frame.f_code.co_filename
    return (
        file in _CALLERS or file in {__file__, runpy.__file__} or file.startswith("<frozen runpy")
    )
