"""Protocols of model servers: one class a protocol, one line here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

from real.errors import RefusedError

if TYPE_CHECKING:
    from real.servers.protocols.base import Address, Client

#: word -> module and class of its client
PROTOCOLS: Final = {
    "oip-http": ("real.servers.protocols.over_http", "OipHttp"),
    "oip-grpc": ("real.servers.protocols.over_grpc", "OipGrpc"),
    "torchserve-http": ("real.servers.protocols.over_http", "TorchServeHttp"),
    "torchserve-grpc": ("real.servers.protocols.over_grpc", "TorchServeGrpc"),
    "ray-http": ("real.servers.protocols.over_http", "RayHttp"),
    "tfs-grpc": ("real.servers.protocols.over_grpc", "TfsGrpc"),
    "tfs-rest": ("real.servers.protocols.over_http", "TfsRest"),
}


def client(address: Address) -> Client:
    """A client of an address; nothing is connected yet.

    Raises:
        RefusedError: Nobody speaks that protocol.
    """
    if address.protocol not in PROTOCOLS:
        raise RefusedError(
            "serving.client.protocol", f"no protocol {address.protocol!r}; there are {', '.join(PROTOCOLS)}"
        )
    module, name = PROTOCOLS[address.protocol]
    found: Client = getattr(import_module(module), name)(address)
    return found
