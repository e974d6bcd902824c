"""Which machine and which software a run was made on."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from functools import cache
from pathlib import Path
from typing import Any


@cache
def fingerprint() -> dict[str, Any]:
    """The host: name, CPU model, cores this process may use, memory, kernel, whether it is a virtual machine."""
    model, virtual = "unknown", False
    for line in _text("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and model == "unknown":
            model = value.strip()
        virtual = virtual or (key.strip() == "flags" and " hypervisor" in value)
    memory = next((int(x.split()[1]) * 1024 for x in _text("/proc/meminfo").splitlines() if x[:9] == "MemTotal:"), 0)
    return {
        "host": socket.gethostname(),
        "cpu_model": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "kernel": platform.release(),
        "virtual": virtual,
        "clock_source": _text("/sys/devices/system/clocksource/clocksource0/current_clocksource").strip(),
    }


def versions(broker: str, broker_version: str | None) -> dict[str, str]:
    """Software of a run: Python, the client, the runtime, the broker, and Java where the broker is one of its."""
    from importlib.metadata import PackageNotFoundError, version

    import confluent_kafka

    found = {"python": platform.python_version(), "librdkafka": confluent_kafka.libversion()[0]}
    for package in ("confluent-kafka", "onnxruntime", "numpy", "orjson", "weir"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    found["broker"] = f"{broker} {broker_version or ''}".strip()
    if broker == "kafka":
        from real.brokers.kafka import JVM_OPTIONS

        found["java"] = java_version()
        found["broker_jvm_options"] = " ".join(JVM_OPTIONS)
    return found


@cache
def java_version() -> str:
    """What `java -version` says first; empty where there is none."""
    java = shutil.which("java")
    if java is None:
        return ""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return "unknown"
    parts = (done.stderr or done.stdout).split('"')
    return parts[1] if len(parts) > 1 else "unknown"


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
