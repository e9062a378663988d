"""What is measured: each cell is one kind of server under one kind of load.

Only here is a cell known by name. The rest of the harness sees what to start, what to ask of the
client, and what one unit of its work is called.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass

INTERFACES = ("protocol", "buffered", "streams", "sock")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = {"64": 64, "1k": KIB, "64k": 64 * KIB}
MIXED = "heavy+light"
GROWTH = (1, 10, 100, 1000, 10_000)
GROWTH_SIZE = "1k"

GROUPS = {
    "protocol": "echo, Protocol",
    "buffered": "echo, BufferedProtocol",
    "streams": "echo, streams",
    "sock": "echo, sock_*",
    "unix": "echo over Unix sockets",
    "udp": "echo of datagrams",
    "short": "connections that live for one request",
    "idle": "10 000 idle connections, one active",
    "bulk": "1 GiB in one direction",
    "growth": "cost as connections become more",
    "thread": "a busy Python thread beside the loop",
    "tls": "echo under TLS",
    "handshake": "a new handshake for each connection",
    "https": "HTTPS, 50 connections that are kept",
    "spawn": "child processes, 50 at once",
    "children": "1 GiB from and to a child process",
    "pipe": "1 GiB through a pipe, both ends in one loop",
}
TLS = ("--tls", "1.3")
BODY = "Hello, world!"
"""What a web server is asked for."""


@dataclass(frozen=True)
class Amount:
    """How much work a run does, and for how long."""

    seconds: float = 0.25
    warmup: float = 0.1
    bulk: int = GIB
    short: int = 10_000
    crowd: int = 10_000
    handshakes: int = 1000
    children: int = 1000


QUICK = Amount(0.05, 0.02, 64 * MIB, short=500, crowd=1000, handshakes=100, children=100)


@dataclass(frozen=True)
class Cell:
    """One row of the tables."""

    name: str
    group: str
    interface: str
    about: str
    client: Callable[[Amount], list[str]]
    """The client's mode and options, without address and server; of a job, the amount."""
    service: str = "echo"
    unit: str = "request"
    large: bool = False
    """Whether blocks are so large that glibc's thresholds for giving memory back matter."""
    unix: bool = False
    busy_thread: bool = False
    connections: int = 1
    bare: tuple[str, ...] = ()
    """What the bare server is told to be at its best here."""
    tls: bool = False
    job: str = ""
    """What a process does by itself, where there is nothing to be a client of."""

    @property
    def limited(self) -> bool:
        """Whether there is a bare server for this. The kernel alone knows no TLS."""
        return not (self.tls or self.job)


def timed(amount: Amount, factor: float = 1.0) -> list[str]:
    """For how long."""
    return ["--seconds", f"{amount.seconds * factor:.3f}", "--warmup", f"{amount.warmup:.3f}"]


def echo(
    interface: str,
    connections: int,
    size: str,
    group: str = "",
    *,
    unix: bool = False,
    busy_thread: bool = False,
    tls: bool = False,
    prefix: str = "",
) -> Cell:
    """So many connections with one request in flight on each."""
    # A crowd has to have been through a few rounds for a figure.
    longer = 2.0 if connections >= 10_000 else 1.0

    def client(amount: Amount) -> list[str]:
        count = min(connections, amount.crowd)
        group = ["--group", f":{count}:{SIZES[size]}"]
        return ["echo", *group, *timed(amount, longer), *(TLS if tls else ())]

    return Cell(
        f"{prefix}{interface}-{connections}x{size}",
        group or interface,
        interface,
        f"{connections} x {size.replace('k', ' KiB') if 'k' in size else size + ' B'}",
        client,
        large=size == "64k",
        unix=unix,
        busy_thread=busy_thread,
        connections=connections,
        tls=tls,
    )


def mixed(interface: str) -> Cell:
    """Eight connections with messages of a mebibyte, and one with 64 bytes between them."""

    def client(amount: Amount) -> list[str]:
        groups = ["--group", f"heavy:8:{MIB}", "--group", "light:1:64"]
        return ["echo", *groups, *timed(amount)]

    return Cell(
        f"{interface}-{MIXED}",
        interface,
        interface,
        "8 x 1 MiB and 1 x 64 B",
        client,
        unit="MiB",
        large=True,
        connections=9,
        bare=("--buffer", str(256 * KIB)),
    )


def udp(sockets: int, size: str) -> Cell:
    """So many sockets with one datagram in flight on each."""

    def client(amount: Amount) -> list[str]:
        many = ["--sockets", str(sockets), "--window", "1", "--size", str(SIZES[size])]
        return ["udp", *many, *timed(amount)]

    return Cell(f"udp-{sockets}x{size}", "udp", "udp", f"{sockets} x {size}", client)


def short(interface: str) -> Cell:
    """Connect, ask, be answered, close."""

    def client(amount: Amount) -> list[str]:
        return ["short", "--count", str(amount.short), "--concurrency", "16", "--size", "64"]

    name = f"short-{interface}"
    return Cell(name, "short", interface, "16 at once", client, unit="connection", connections=16)


def handshake(interface: str) -> Cell:
    """The same with a whole handshake after connecting: nothing is resumed."""

    def client(amount: Amount) -> list[str]:
        lives = ["--count", str(amount.handshakes), "--concurrency", "16", "--size", "64"]
        return ["short", *lives, *TLS]

    return Cell(
        f"handshake-{interface}",
        "handshake",
        interface,
        "16 at once",
        client,
        unit="connection",
        connections=16,
        tls=True,
    )


def idle(interface: str) -> Cell:
    """One connection that talks, and a crowd that is silent."""

    def client(amount: Amount) -> list[str]:
        return ["echo", "--group", ":1:64", "--idle", str(amount.crowd), *timed(amount)]

    name = f"idle-{interface}"
    return Cell(name, "idle", interface, "64 B on the active one", client, connections=10_000)


def bulk(interface: str, service: str) -> Cell:
    """One connection, one direction."""

    def client(amount: Amount) -> list[str]:
        return [service, "--bytes", str(amount.bulk)]

    name = f"{service}-{interface}"
    return Cell(name, "bulk", interface, service, client, service=service, unit="MiB", large=True)


def https(server: str) -> Cell:
    """The same small answer again and again."""

    def client(amount: Amount) -> list[str]:
        # A request takes longer than an echo, and as many are wanted for a figure.
        return ["http", "--connections", "50", "--body", BODY, *timed(amount, 2.0), *TLS]

    name = f"https-{server}"
    return Cell(name, "https", server, "50 x 13 B", client, "web", connections=50, tls=True)


JOBS = {
    "children": {
        "cat-streams": "from cat, StreamReader",
        "cat-protocol": "from cat, SubprocessProtocol",
        "feed-streams": "to wc, StreamWriter",
    },
    "pipe": {"pipe-protocol": "Protocol", "pipe-streams": "streams"},
}


def every_cell() -> list[Cell]:
    """All of them, in the order of the tables."""
    found: list[Cell] = []
    for interface in INTERFACES:
        plain = ((1, "64"), (50, "1k"), (1000, "1k"), (50, "64k"))
        found += [echo(interface, connections, size) for connections, size in plain]
        found.append(mixed(interface))
    found += [echo(i, 50, "1k", "unix", unix=True, prefix="unix-") for i in ("protocol", "streams")]
    found += [udp(1, "64"), udp(50, "1k")]
    found += [short(interface) for interface in ("protocol", "streams", "sock")]
    found += [idle(interface) for interface in ("protocol", "streams")]
    found += [bulk(interface, "upload") for interface in INTERFACES]
    found += [bulk(interface, "download") for interface in ("protocol", "streams", "sock")]
    for interface in ("protocol", "streams"):
        there = {cell.name for cell in found}
        growing = [echo(interface, count, GROWTH_SIZE, "growth") for count in GROWTH]
        found += [cell for cell in growing if cell.name not in there]
        found.append(echo(interface, 1, "64", "thread", busy_thread=True, prefix="thread-"))
    return [*found, *every_cell_under_tls(), *every_job()]


def every_cell_under_tls() -> list[Cell]:
    """Those for which there is no limit but the peers."""
    found = [
        echo(interface, 50, size, "tls", tls=True, prefix="tls-")
        for interface in ("protocol", "streams")
        for size in ("1k", "64k")
    ]
    found += [handshake(interface) for interface in ("protocol", "streams")]
    return found + [https(server) for server in ("uvicorn", "aiohttp")]


def every_job() -> list[Cell]:
    """What an engine does by itself."""
    found = [Cell("spawn", "spawn", "", "true", children, unit="child", job="spawn")]
    for group, names in JOBS.items():
        found += [
            Cell(name, group, "", about, gibibyte, unit="MiB", large=True, job=name)
            for name, about in names.items()
        ]
    return found


def children(amount: Amount) -> list[str]:
    """So many."""
    return [str(amount.children)]


def gibibyte(amount: Amount) -> list[str]:
    """So many bytes."""
    return [str(amount.bulk)]


CELLS = {cell.name: cell for cell in every_cell()}
LEFT_OUT_OF_SMOKE_RUNS = ("growth", "unix")


def growth_of(interface: str) -> dict[int, str]:
    """The cells that show how the cost grows, by the number of connections."""
    return {count: f"{interface}-{count}x{GROWTH_SIZE}" for count in GROWTH}


def chosen(names: str | None) -> list[Cell]:
    """The cells of a comma-separated list of names, groups and patterns."""
    if names is None:
        return list(CELLS.values())
    found: dict[str, Cell] = {}
    for name in names.split(","):
        matching = [c for c in CELLS.values() if name == c.group or fnmatch.fnmatch(c.name, name)]
        if not matching:
            raise ValueError(f"no such cell: {name}")
        found |= {cell.name: cell for cell in matching}
    return [cell for cell in CELLS.values() if cell.name in found]
