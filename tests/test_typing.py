"""What type checkers say: mypy, in strict mode, over a program that uses all of aioxide."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import aioxide

ROOT = Path(__file__).parent.parent
VERSIONS = ["3.11", "3.12", "3.13", "3.14"]
# The program's own words for Any: nothing of aioxide's may look like this.
IMPRECISE = re.compile(r'Revealed type is "(Any|def \(\*.*Any.*\) -> Any)"')


def mypy(*arguments: str | Path) -> str:
    """Run it with the settings of pyproject.toml and return what it says."""
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=240,
        check=False,
    )
    assert result.returncode in {0, 1}, result.stdout + result.stderr
    assert result.stderr == ""
    return result.stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_a_users_program_has_the_types_that_asyncio_gives_it(version: str) -> None:
    assert mypy("--python-version", version, "tests/typing/user_program.py") == ""


def test_a_wrong_type_is_found(tmp_path: Path) -> None:
    source = (ROOT / "tests/typing/user_program.py").read_text()
    right = "assert_type(await asyncio.gather(number(), text()), tuple[int, str])"
    assert source.count(right) == 1
    program = tmp_path / "wrong.py"
    program.write_text(source.replace(right, right.replace("int, str", "str, int")))
    assert 'Expression is of type "tuple[int, str]", not "tuple[str, int]"' in mypy(program)


def test_every_public_name_is_known_and_has_a_type(tmp_path: Path) -> None:
    program = tmp_path / "names.py"
    lines = [f"reveal_type(aioxide.{name})\n" for name in aioxide.__all__]
    program.write_text("import aioxide\n" + "".join(lines))
    running = "{}.{}".format(*sys.version_info)
    said = mypy("--python-version", running, program).splitlines()
    assert [line for line in said if "Revealed type" not in line] == []
    assert len(said) == len(lines)
    assert [line for line in said if IMPRECISE.search(line)] == []


@pytest.mark.parametrize("submodule", ["tasks", "locks", "queues", "timeouts", "futures", "events"])
def test_every_public_name_of_a_submodule_is_known_too(submodule: str, tmp_path: Path) -> None:
    names = getattr(aioxide, submodule).__all__
    program = tmp_path / "names.py"
    program.write_text(
        f"from aioxide.{submodule} import ({', '.join(names)})\n"
        f"import aioxide as asyncio\n" + "".join(f"asyncio.{submodule}.{name}\n" for name in names)
    )
    assert mypy("--python-version", "{}.{}".format(*sys.version_info), program) == ""
