"""One measurement: a server on its core, the client on another, and what the client found.

Where an engine works by itself, as with child processes, there is one process that does the job
and says what it took. All are ended with this process, even if it is killed: a server that nobody
watches would weigh on every figure that is taken after it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.runner import DEBUG_SWITCHES, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.net.cells import Amount, Cell

LIMIT = "limit"
TRIM = "+trim"
# glibc gives the top of the heap back, and maps large blocks one by one, as long as nobody says
# otherwise. 32 MiB is the most that it takes for the second.
RAISED = {"MALLOC_TRIM_THRESHOLD_": str(256 << 20), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
START_TIMEOUT = 20.0
JOB_TIMEOUT = 30.0
PATIENCE = 20.0
PR_SET_PDEATHSIG = 1


class NotServedError(Exception):
    """This contestant has no figure for this cell; the message says why."""


class HungError(NotServedError):
    """Neither has it failed; there is no second attempt, which would only take as long."""


@dataclass(frozen=True)
class Contestant:
    """An engine, or the bare server, with what its environment adds."""

    engine: str
    label: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_limit(self) -> bool:
        """Whether this is the bare server."""
        return self.engine == LIMIT


THE_LIMIT = Contestant(LIMIT, LIMIT)


def plain(engine: str) -> Contestant:
    """The engine as it is."""
    return Contestant(engine, engine)


def untrimmed(engine: str) -> Contestant:
    """The engine with glibc told to keep its memory."""
    return Contestant(engine, engine + TRIM, RAISED)


def cores(cell: Cell) -> tuple[set[int], set[int]]:
    """The server's cores and the client's: one for each, the same where there is only one.

    With a busy thread both may run anywhere. Were the two threads of the server kept on one core,
    the loop's would wait out the interpreter's switch interval of 5 ms after each wait of its own,
    on any engine, and nothing could be told from that.
    """
    there = sorted(os.sched_getaffinity(0))
    if cell.busy_thread:
        return set(there), set(there)
    return {there[-1]}, {there[0]}


def built() -> Path:
    """Build the client and the bare servers, unless they are, and say where they are."""
    command = ["cargo", "build", "--profile", "load", "--package", "aioxide-netload"]
    options = ["--message-format", "json-render-diagnostics", "--quiet"]
    output = subprocess.run(
        [*command, *options], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    for line in output.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "aioxide-netload":
            return Path(message["executable"])
    raise FileNotFoundError("cargo built no aioxide-netload")


def spawn(
    command: Sequence[str], cores: set[int], environment: Mapping[str, str], *, verbose: bool
) -> subprocess.Popen[bytes]:
    """A process on these cores that does not outlive this one."""
    prctl = ctypes.CDLL(None).prctl

    def prepare() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.sched_setaffinity(0, cores)

    kept = {k: v for k, v in os.environ.items() if k not in DEBUG_SWITCHES}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=kept | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if verbose else subprocess.DEVNULL,
        preexec_fn=prepare,
        process_group=0,
    )


def server_command(program: Path, contestant: Contestant, cell: Cell, folder: Path) -> list[str]:
    """How to start the server of this cell; what it needs of files is put into the folder."""
    unix = ["--unix", str(folder / "socket")] if cell.unix else []
    if contestant.is_limit:
        if cell.interface == "udp":
            return [str(program), "serve-udp"]
        return [str(program), "serve-tcp", "--service", cell.service, *cell.bare, *unix]
    tls = ["--tls", str(identity(program, folder))] if cell.tls else []
    busy = ["--busy-thread"] if cell.busy_thread else []
    module = [sys.executable, "-m", "benchmarks.net.server"]
    return [*module, contestant.engine, cell.interface, cell.service, *unix, *tls, *busy]


def identity(program: Path, folder: Path) -> Path:
    """A new key and its certificate, which nobody has to remember."""
    pem, command = folder / "identity.pem", [str(program), "certificate"]
    pem.write_bytes(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return pem


@contextlib.contextmanager
def serving(
    program: Path, contestant: Contestant, cell: Cell, *, verbose: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The server's process id and what it said, until the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        command = server_command(program, contestant, cell, Path(folder))
        server = spawn(command, cores(cell)[0], contestant.environment, verbose=verbose)
        try:
            said = first_line(server, START_TIMEOUT).strip()
            yield server.pid, {"address": said} if contestant.is_limit else json.loads(said)
        finally:
            server.kill()
            server.communicate()


def first_line(server: subprocess.Popen[bytes], timeout: float) -> str:
    """What the server says when it is ready, or the job when it is done."""
    assert server.stdout is not None
    line = b""
    deadline = time.monotonic() + timeout
    while not line.endswith(b"\n"):
        left = max(0.0, deadline - time.monotonic())
        if not select.select([server.stdout], [], [], left)[0]:
            raise HungError(f"not ready after {timeout:.0f} s")
        piece = os.read(server.stdout.fileno(), 4096)
        if not piece:
            raise NotServedError(f"crashed ({server.wait()})")
        line += piece
    return line.decode()


def measure(
    program: Path, contestant: Contestant, cell: Cell, amount: Amount, *, verbose: bool = False
) -> dict[str, float]:
    """What was found; an error of this module if there is nothing to find."""
    if cell.job:
        return measure_job(contestant, cell, amount, verbose=verbose)
    return measure_server(program, contestant, cell, amount, verbose=verbose)


def measure_job(
    contestant: Contestant, cell: Cell, amount: Amount, *, verbose: bool
) -> dict[str, float]:
    """What an engine says of a job that it has done, anywhere on the machine."""
    module = [sys.executable, "-m", "benchmarks.net.job"]
    command = [*module, contestant.engine, cell.job, *cell.client(amount)]
    there = os.sched_getaffinity(0)
    job = spawn(command, there, contestant.environment, verbose=verbose)
    try:
        said = json.loads(first_line(job, JOB_TIMEOUT))
    finally:
        # The job's children go with it: they are in its group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
        job.communicate()
    if "found" not in said:
        raise NotServedError(said.get("missing") or said["unable"])
    found: dict[str, float] = said["found"]
    return found


def measure_server(
    program: Path, contestant: Contestant, cell: Cell, amount: Amount, *, verbose: bool
) -> dict[str, float]:
    """What the client found; an error of this module if there is nothing to find."""
    with serving(program, contestant, cell, verbose=verbose) as (process, said):
        if "address" not in said:
            raise NotServedError(said.get("missing") or said["unable"])
        address = ["--to", said["address"], "--server-pid", str(process)]
        command = [str(program), *cell.client(amount), *address]
        client = spawn_client(command, cores(cell)[1])
        try:
            output, errors = client.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            client.kill()
            client.communicate()
            raise HungError(f"not done after {PATIENCE:.0f} s") from None
        if client.returncode:
            raise NotServedError(errors.decode().strip() or f"client failed ({client.returncode})")
        found: dict[str, float] = json.loads(output)
        return found


def spawn_client(command: Sequence[str], cores: set[int]) -> subprocess.Popen[bytes]:
    """The client, whose complaints are read."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
