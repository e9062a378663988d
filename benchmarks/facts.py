"""The machine and the interpreter, as far as a reader of the figures has to know them.

Kept to what bears on speed. Names of hosts, users and folders have no business in a file that is
published.
"""

from __future__ import annotations

import datetime
import os
import platform
import sys
import sysconfig
from pathlib import Path


def machine_facts() -> dict[str, str | int | float]:
    """What is recorded with each run."""
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "free_threaded": int(bool(sysconfig.get_config_var("Py_GIL_DISABLED"))),
        "debug_build": int(bool(sysconfig.get_config_var("Py_DEBUG"))),
        "compiler": platform.python_compiler(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "load_before": round(os.getloadavg()[0], 2),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }


def available_memory() -> float:
    """Bytes that the kernel would give without swapping."""
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key == "MemAvailable":
            return float(value.split()[0]) * 1024
    return float("inf")


def cpu_model() -> str:
    """The processor's name as the kernel gives it."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown"
