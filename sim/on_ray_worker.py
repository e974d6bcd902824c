"""What a worker of a Ray cluster runs: one simulation by the sources of the machine that asks, in a folder of its own.

Sent as it is, not by name, so a node needs nothing of ours: only what the simulator imports, in the same versions.
Where the node has the very same sources they are used, and their compiled loop with them; else what was sent is
unpacked once, under ~/.cache/weir.  So nothing of ours may be imported before `_sources` was called.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import os
import pickle
import platform
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

#: What a result might depend on beside the sources.
PACKAGES = ("numpy", "numba", "scipy")


def versions() -> dict[str, str]:
    """Of Python and of each of `PACKAGES`; "none" of what is not installed."""
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def simulate(
    rooms: Sequence[str],
    digest: str,
    wanted: Mapping[str, str],
    task: bytes,
    names: Sequence[str],
    sources: bytes,
    *contents: bytes | int,
) -> tuple[str, Any]:
    """Calls a job's function; what it keeps, it keeps in a folder that goes away.

    Args:
        rooms: The packages of the simulator.
        digest: Of their sources, as `sim.kept.sources`.
        wanted: As `versions`.
        task: The pickled (function, job).
        names: The files that the job's scenario names.
        sources: The zipped sources.
        contents: Of each of the files; the size alone, where only that is read.

    Returns:
        ("done", the result), or ("refused", why this node cannot do it).
    """
    unlike = [f"{name} {there}, not {wanted[name]}" for name, there in versions().items() if there != wanted[name]]
    if unlike:
        return "refused", f"node {platform.node()} has {', '.join(unlike)}"
    refused = _sources(rooms, digest, sources)
    if refused:
        return "refused", f"node {platform.node()} {refused}"
    function, job = pickle.loads(task)
    with tempfile.TemporaryDirectory(prefix="weir-ray-") as folder:
        moved = {}
        for number, (name, content) in enumerate(zip(names, contents, strict=True)):
            place = Path(folder) / f"{number}-{Path(name).name}"
            if isinstance(content, int):
                place.touch()
                os.truncate(place, content)
            else:
                place.write_bytes(content)
            moved[name] = str(place)
        job = dataclasses.replace(job, scenario=renamed(job.scenario, moved), file=Path(folder) / "result.json")
        return "done", function(job)


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A value with other words for some, in dataclasses and tuples however deep."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, tuple):
        return tuple(renamed(each, names) for each in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        changed = {name: new for name, old in fields.items() if (new := renamed(old, names)) is not old}
        return dataclasses.replace(value, **changed) if changed else value
    return value


def digest_of(root: Path, rooms: Sequence[str]) -> str:
    """Hash of the sources of the simulator under a folder, the same as `sim.kept.sources` there."""
    whole = hashlib.sha256()
    for room in rooms:
        for path in sorted((root / room).rglob("*.py")):
            whole.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()


def packed(root: Path, rooms: Sequence[str]) -> bytes:
    """The zipped sources under a folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for room in rooms:
            for path in sorted((root / room).rglob("*.py")):
                archive.write(path, path.relative_to(root))
    return buffer.getvalue()


def unpacked(sources: bytes, rooms: Sequence[str], digest: str, home: Path) -> Path:
    """The folder of the sources, unpacked there if they are not already; two at a time do no harm."""
    folder = home / f"sources-{digest[:16]}"
    if folder.is_dir() and digest_of(folder, rooms) == digest:
        return folder
    home.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="sources-", dir=home))
    with zipfile.ZipFile(io.BytesIO(sources)) as archive:
        archive.extractall(made)
    try:
        made.rename(folder)
    except OSError:  # another was first, or what is there is spoilt
        if digest_of(folder, rooms) == digest:
            shutil.rmtree(made)
            return folder
        return made
    return folder


def _sources(rooms: Sequence[str], digest: str, sources: bytes) -> str:
    """Has `import sim` mean the sources of that hash; says why it cannot."""
    kept = sys.modules.get("sim.kept")
    if kept is not None:
        return "" if kept.sources() == digest else "has other sources imported"
    # Ray puts the folder of the asking program first, and a module of ours there would hide one of Python's.
    sys.path[:] = [path for path in sys.path if not Path(path, "on_ray_worker.py").is_file()]
    spec = importlib.util.find_spec("sim")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).resolve().parent.parent
        if digest_of(root, rooms) == digest:
            return ""
    if any(room in sys.modules for room in rooms):
        return "has other sources imported"
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "weir"
    sys.path.insert(0, str(unpacked(sources, rooms, digest, home)))
    importlib.invalidate_caches()
    return ""
