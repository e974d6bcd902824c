"""Which host something was measured on, and whether that is this one."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

#: What must agree for a calibration to be this host's own.
IDENTITY = ("cpu_model", "cores")


@cache
def fingerprint() -> dict[str, Any]:
    """The host: CPU model, cores this process may use, memory, kernel, whether it is a virtual machine."""
    model, virtual = "unknown", False
    for line in _text("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and model == "unknown":
            model = value.strip()
        virtual = virtual or (key.strip() == "flags" and " hypervisor" in value)
    memory = next((int(x.split()[1]) * 1024 for x in _text("/proc/meminfo").splitlines() if x[:9] == "MemTotal:"), 0)
    return {
        "cpu_model": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "virtual": virtual,
        "clock_source": _text("/sys/devices/system/clocksource/clocksource0/current_clocksource").strip(),
    }


def differences(other: Mapping[str, Any]) -> list[str]:
    """In words, where another fingerprint's identity differs from this host's; empty if it is this kind of host."""
    here = fingerprint()
    return [f"{key} {other.get(key)} (here {here[key]})" for key in IDENTITY if other.get(key) != here[key]]


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
