"""The one place that knows numba: its decorator with our flags, and a cache that cannot go stale.

numba looks only at the source file of a function to decide whether compiled code is current, not at the constants and
helpers it takes from elsewhere.  The cache folder's name therefore carries a hash of every source that compiled code
depends on.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba import config, types
from numba.extending import intrinsic, register_jitable

from control import batching, cache
from scenarios import draws

F = TypeVar("F", bound=Callable[..., Any])

_HERE = Path(__file__).parent
_ROOT = _HERE.parent
#: What is compiled (each imports this module), and where its constants stand.
_SOURCES = (
    *sorted(p for p in _HERE.rglob("*.py") if b"sim.jit" in p.read_bytes()),
    *sorted(_HERE.rglob("arena.py")),
    *(_HERE / f"{n}.py" for n in ("jit", "operations", "system", "programs", "costs")),
    *sorted(_ROOT.glob("scenarios/*draws.py")),
    *(_ROOT / "control" / f"{n}.py" for n in ("batching", "cache")),
)


def _cache_dir() -> Path:
    digest = hashlib.sha256(b"".join(p.read_bytes() for p in _SOURCES)).hexdigest()[:16]
    for root in (_HERE / "__pycache__", Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "weir"):
        try:
            folder = root / f"numba-{digest}"
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="weir-numba-"))


_CONFIG: Any = config  # numba sets its attributes as it is imported
if not _CONFIG.CACHE_DIR:
    _CONFIG.CACHE_DIR = str(_cache_dir())


def compiled(function: F) -> F:
    """Compiles on first call, from the cache where there is one; with NUMBA_DISABLE_JIT set, the plain function."""
    return cast(F, numba.njit(cache=True, error_model="numpy")(function))


for _f in (draws.mix32, draws.draw_key, draws.draw_at, draws.draw, *batching.FUNCTIONS, *cache.FUNCTIONS):
    register_jitable(_f)


@intrinsic
def _pointer(typingctx, address):  # type: ignore[no-untyped-def]  # numba reads these functions, it does not call them
    """An int64 address as a pointer to int64."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    pointer: Any = types.CPointer
    return pointer(types.int64)(types.int64), codegen


@compiled
def arena_at(address: int) -> Any:
    """The arena at an address, as a bare pointer: passing it on costs no reference counting, reading it no bounds."""
    return _pointer(address)  # type: ignore[call-arg]  # numba gives an intrinsic its first argument


JIT_OFF = bool(_CONFIG.DISABLE_JIT)
