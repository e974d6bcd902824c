"""How clients reach a broker that is secured: TLS and SASL, from the environment alone.

No secret is in a scenario, in what a process is told in a file, or on a command line: a client adds them to its
properties as it is made.  The harness hands the variables on to the processes of a run whose broker is external, and to
no other (`Supervisor.hand_on`).  `real/jvm` reads the same ones (`weir.common.Security`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from real.errors import RefusedError

#: Of the variables; no process finds one in its environment unless it is handed to it.
PREFIX = "WEIR_KAFKA_"
PROTOCOL = f"{PREFIX}SECURITY_PROTOCOL"
MECHANISM, USER, PASSWORD = f"{PREFIX}SASL_MECHANISM", f"{PREFIX}SASL_USERNAME", f"{PREFIX}SASL_PASSWORD"
CA, CERTIFICATE = f"{PREFIX}SSL_CA", f"{PREFIX}SSL_CERTIFICATE"
KEY, KEY_PASSWORD = f"{PREFIX}SSL_KEY", f"{PREFIX}SSL_KEY_PASSWORD"
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
#: Variable -> librdkafka's property, of each half.
_TLS = {
    CA: "ssl.ca.location",
    CERTIFICATE: "ssl.certificate.location",
    KEY: "ssl.key.location",
    KEY_PASSWORD: "ssl.key.password",
}
_SASL = {USER: "sasl.username", PASSWORD: "sasl.password"}


def asked() -> str:
    """The protocol that the environment asks for; PLAINTEXT where it says nothing."""
    return os.environ.get(PROTOCOL) or "PLAINTEXT"


def check() -> None:
    """Refuses variables that cannot be meant; says their names, never what they hold.

    Raises:
        RefusedError: Naming the variable.
    """
    protocol = asked()
    if protocol not in PROTOCOLS:
        raise RefusedError(PROTOCOL, f"not one of {', '.join(PROTOCOLS)}")
    if protocol.startswith("SASL"):
        if _mechanism() not in MECHANISMS:
            raise RefusedError(MECHANISM, f"not one of {', '.join(MECHANISMS)}")
        for name in _SASL:
            if not os.environ.get(name):
                raise RefusedError(name, f"not set; {protocol} needs it")
    if protocol.endswith("SSL"):
        for name in (CA, CERTIFICATE, KEY):
            if os.environ.get(name) and not Path(os.environ[name]).is_file():
                raise RefusedError(name, "there is no such file")
        if bool(os.environ.get(CERTIFICATE)) != bool(os.environ.get(KEY)):
            raise RefusedError(KEY, f"{CERTIFICATE} and {KEY} come together")


def secured(config: Mapping[str, Any]) -> dict[str, Any]:
    """A client's properties, with those that the environment asks for."""
    protocol = asked()
    if protocol == "PLAINTEXT":
        return dict(config)
    found: dict[str, Any] = {**config, "security.protocol": protocol}
    if protocol.startswith("SASL"):
        found["sasl.mechanism"] = _mechanism()
        found |= {property_: os.environ[name] for name, property_ in _SASL.items() if os.environ.get(name)}
    if protocol.endswith("SSL"):
        found |= {property_: os.environ[name] for name, property_ in _TLS.items() if os.environ.get(name)}
    return found


def _mechanism() -> str:
    return os.environ.get(MECHANISM) or "PLAIN"
