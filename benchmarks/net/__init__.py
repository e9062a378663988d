"""The network benchmark: every engine's servers under load, beside what the kernel alone costs.

`python -m benchmarks.net` from the root of the repository; `make bench-net`. A server runs in a
process and on a core of its own, and a load client written in Rust on another. What counts is the
processor time that the server takes for one request: throughput ends where the slower of the two
cores is full, and that may be the client's. The limit is a bare epoll server in Rust
(`benchmarks/netload`), measured in the same round as everybody else.

Like is compared with like: each server sends back whatever arrives as it arrives, in the words of
its interface. `protocol` writes what `data_received` got; `buffered` writes the part of its buffer
that was filled; `streams` reads up to 64 KiB, writes and drains; `sock` awaits `sock_recv` of up to
64 KiB and `sock_sendall`; the bare server does one `recv` of up to 64 KiB and one `send`.

TLS has no limit to be measured against: a bare server would be one more implementation, in another
library than Python's. There, and for web servers, child processes and pipes, what counts is the
best peer, in throughput as well as in cost. The client speaks TLS by rustls (1.3, AES-256-GCM as
servers of Python choose it, no session resumed, no certificate checked); a table says how much of
its core it used, since a rate is the server's only where the client had time left. The servers
have Python's default context and a certificate on P-256 that is made for each of them.

HTTPS is one small answer from uvicorn (with httptools) and from aiohttp, over connections that are
kept. Child processes and pipes are jobs that an engine does by itself, with the whole machine;
their processor time includes the children's. Each is done on a few mebibytes first, of which every
byte is compared, and counted after that.

An engine's own streams are used where it has some: aioxide's are `aioxide.start_server`, which is
what a program gets from `python -m aioxide`, and rsloop puts its own into asyncio when it is
imported. uvloop, rloop, zuvloop, zloop and blazio run asyncio's on their transports.
"""
