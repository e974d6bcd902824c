"""Which software a run was made on."""

from __future__ import annotations

import platform
import shutil
import subprocess
from functools import cache


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

        found["java"] = java_version(shutil.which("java"))
        found["broker_jvm_options"] = " ".join(JVM_OPTIONS)
    return found


@cache
def java_version(java: str | None) -> str:
    """What a launcher says of its version first; empty where there is none."""
    if java is None:
        return ""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return "unknown"
    parts = (done.stderr or done.stdout).split('"')
    return parts[1] if len(parts) > 1 else "unknown"
