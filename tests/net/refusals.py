"""Have the kernel refuse, for this thread, some system calls on one descriptor.

There is no honest way to run out of socket buffers on a loopback interface: the kernel says EAGAIN
first. A seccomp filter makes the kernel itself return ENOBUFS from real calls on real sockets,
whoever makes them, Python or Rust. It needs no privilege, holds for the thread that installs it and
those it starts, and cannot be taken off again; so tests install it in a thread of their own.
"""

import ctypes
import platform

import pytest

_NUMBERS = {
    "x86_64": {"sendto": 44, "sendmsg": 46, "sendmmsg": 307, "accept": 43, "accept4": 288},
    "aarch64": {"sendto": 206, "sendmsg": 211, "sendmmsg": 269, "accept": 202, "accept4": 242},
}.get(platform.machine(), {})

SENDING = ("sendto", "sendmsg", "sendmmsg")
ACCEPTING = ("accept", "accept4")

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_SYSCALL_NUMBER, _FIRST_ARGUMENT = 0, 16


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("operand", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


def refused(calls: tuple[str, ...], descriptor: int, number: int) -> None:
    """From now on, these calls on this descriptor fail with this errno in this thread."""
    if not _NUMBERS:
        pytest.skip(f"no system call numbers for {platform.machine()}")
    numbers = [_NUMBERS[call] for call in calls]
    steps = [
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_IF_EQUAL, 0, len(numbers) + 1, descriptor),
        (_LOAD, 0, 0, _SYSCALL_NUMBER),
        *((_JUMP_IF_EQUAL, len(numbers) - place, 0, nr) for place, nr in enumerate(numbers)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ERRNO | number),
    ]
    program = _Program(
        len(steps), (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _FILTER, ctypes.byref(program)
    ):
        pytest.skip(f"no seccomp filters here: errno {ctypes.get_errno()}")
