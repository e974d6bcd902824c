"""Model servers: one module a server, one line here; from elsewhere an entry point in the group `weir.servers`."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, Final

from real.errors import RefusedError

if TYPE_CHECKING:
    from real.servers.base import Server

#: `serving.runtime` of an external server -> the module whose `SERVER` it is
SERVERS: Final = {
    "weir": "real.servers.weir",
    "mlserver": "real.servers.mlserver",
    "torchserve": "real.servers.torchserve",
    "ray-serve": "real.servers.ray_serve",
    "triton": "real.servers.triton",
    "tf-serving-protocol": "real.servers.tf_serving_protocol",
}
ENTRY_POINT_GROUP: Final = "weir.servers"
#: Serves the runtimes that an engine could embed, too: `kind: external, runtime: onnx` is this one.
OURS: Final = "weir"


def server(word: str) -> Server:
    """The server of a word; a runtime's word means our own server with that runtime.

    Raises:
        RefusedError: There is none here.
    """
    from real.servers.base import Server

    if word in SERVERS:
        found = import_module(SERVERS[word]).SERVER
        assert isinstance(found, Server)
        return found
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINT_GROUP, name=word):
        loaded = entry.load()
        if not isinstance(loaded, Server):
            raise RefusedError("serving.runtime", f"{word}: entry point {entry.value} is no Server")
        return loaded
    from models.runtimes import names

    if word in names():
        return server(OURS)
    near = difflib.get_close_matches(word, SERVERS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise RefusedError(
        "serving.runtime",
        f"real has no server {word}; there are {', '.join(SERVERS)}, and weir runs {', '.join(names())}{hint}",
    )
