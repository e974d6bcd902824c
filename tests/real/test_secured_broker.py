"""A real broker that lets in who has the certificate's authority and a password; neither is kept anywhere."""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from real.brokers import kafka as brokers_kafka
from real.brokers import security
from real.errors import BrokerError, RefusedError
from real.processes import Supervisor
from real.session import Session
from scenarios import spec
from tests.real.checks import sound
from tests.real.conftest import Make

_LIMIT_S = 60
_USER = "weir"


def keys(folder: Path) -> tuple[Path, Path, str]:
    """A self-signed certificate for 127.0.0.1: the broker's store, the authority as PEM, the store's password."""
    password, store, authority = secrets.token_hex(12), folder / "broker.p12", folder / "ca.pem"
    keytool = shutil.which("keytool")
    if keytool is None:
        pytest.skip("keytool (of a JDK) is not on the PATH")
    common = [keytool, "-keystore", str(store), "-storepass", password, "-storetype", "PKCS12", "-alias", "broker"]
    make = ["-genkeypair", "-keyalg", "RSA", "-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-validity", "2"]
    subprocess.run([*common, *make], check=True, capture_output=True, timeout=_LIMIT_S)
    subprocess.run(
        [*common, "-exportcert", "-rfc", "-file", str(authority)], check=True, capture_output=True, timeout=_LIMIT_S
    )
    return store, authority, password


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which a client is let in, and its address under `bootstrap`."""
    store, authority, store_password = keys(tmp_path_factory.mktemp("keys"))
    password = secrets.token_hex(16)
    plain = brokers_kafka.properties
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    (port,) = brokers_kafka._free_ports(1)

    def properties(*args: Any) -> dict[str, object]:
        found = plain(*args)
        return {
            **found,
            "listeners": f"{found['listeners']},SASL_SSL://127.0.0.1:{port}",
            "advertised.listeners": f"{found['advertised.listeners']},SASL_SSL://127.0.0.1:{port}",
            "listener.security.protocol.map": f"{found['listener.security.protocol.map']},SASL_SSL:SASL_SSL",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{login} user_{_USER}="{password}";',
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.location": store,
            "ssl.keystore.password": store_password,
            "ssl.key.password": store_password,
        }

    with Supervisor() as supervisor, pytest.MonkeyPatch.context() as patch:
        patch.setattr(brokers_kafka, "properties", properties)
        running = brokers_kafka.make(spec.Broker(), supervisor, print)
        running.start()
        yield {
            "bootstrap": f"127.0.0.1:{port}",
            security.PROTOCOL: "SASL_SSL",
            security.MECHANISM: "PLAIN",
            security.USER: _USER,
            security.PASSWORD: password,
            security.CA: str(authority),
        }
        running.stop()


def let_in(monkeypatch: pytest.MonkeyPatch, broker: dict[str, str], **other: str) -> None:
    for name, value in {**broker, **other}.items():
        if name.startswith(security.PREFIX):
            monkeypatch.setenv(name, value)


def texts(*roots: Path) -> Iterator[tuple[Path, bytes]]:
    for root in roots:
        for path in root.rglob("*"):
            if path.is_file():
                yield path, path.read_bytes()


@pytest.mark.kafka
@pytest.mark.parametrize(
    "sets",
    [
        pytest.param(("engine.kind=python",), marks=pytest.mark.slow),
        ("engine.kind=kafka-streams",),
        pytest.param(("engine.kind=flink",), marks=pytest.mark.slow),
        pytest.param(("engine.kind=pekko",), marks=pytest.mark.slow),
        pytest.param(("engine.kind=flink", "engine.delivery=exactly-once"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_run_through_a_secured_broker_keeps_no_secret(
    make: Make,
    broker: dict[str, str],
    runs_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    sets: tuple[str, ...],
) -> None:
    let_in(monkeypatch, broker)
    password, looked = broker[security.PASSWORD].encode(), []
    scenario = make("broker.kind=external", f"broker.bootstrap={broker['bootstrap']}", *sets)
    with Session(out=runs_dir, warm_s=0) as session:
        clean = session._clean

        def look(*args: Any) -> None:  # what the processes were told and what they said is still there
            for path, data in texts(session.supervisor.directory):
                looked.append(path)
                assert password not in data, path
            clean(*args)

        monkeypatch.setattr(session, "_clean", look)
        path = session.run(scenario)
        sound(path, sent=600)
    assert any(each.suffix == ".json" for each in looked)
    assert any(each.suffix == ".log" for each in looked)
    for each, data in texts(path):
        assert password not in data, each
    said = capfd.readouterr()
    assert password.decode() not in said.out + said.err


@pytest.mark.kafka
@pytest.mark.parametrize("wrong", [security.PASSWORD, pytest.param(security.PROTOCOL, marks=pytest.mark.slow)])
def test_who_is_not_let_in_is_told_so(
    make: Make, broker: dict[str, str], runs_dir: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setattr("real.brokers.external._ANSWER_S", 5.0)
    let_in(monkeypatch, broker, **{wrong: "SASL_PLAINTEXT" if wrong == security.PROTOCOL else "not-this-one"})
    scenario = make("broker.kind=external", f"broker.bootstrap={broker['bootstrap']}")
    with Session(out=runs_dir, warm_s=0) as session, pytest.raises(BrokerError) as caught:
        session.run(scenario)
    said = str(caught.value)
    assert re.search(r"does not answer after 5 s", said)
    if wrong == security.PASSWORD:
        assert "uthentication" in said
    assert "not-this-one" not in said
    assert broker[security.PASSWORD] not in said


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({security.PROTOCOL: "TLS"}, security.PROTOCOL),
        ({security.PROTOCOL: "SASL_SSL", security.MECHANISM: "GUESS"}, security.MECHANISM),
        ({security.PROTOCOL: "SASL_SSL", security.USER: "me"}, security.PASSWORD),
        ({security.PROTOCOL: "SSL", security.CA: "/nowhere/ca.pem"}, security.CA),
        ({security.PROTOCOL: "SSL", security.CERTIFICATE: __file__}, security.KEY),
    ],
    ids=["protocol", "mechanism", "no-password", "no-file", "half-a-pair"],
)
def test_variables_that_cannot_be_meant_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RefusedError, match=named):
        security.check()


def test_only_processes_that_are_handed_a_secret_find_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(security.PASSWORD, "hidden")
    with Supervisor() as supervisor:
        assert supervisor.run("env", ["sh", "-c", f"echo found ${security.PASSWORD}."], 30) == "found ."
        supervisor.hand_on(True)
        assert supervisor.run("env", ["sh", "-c", f"echo found ${security.PASSWORD}."], 30) == "found ."
        assert supervisor._environment(talks=True)[security.PASSWORD] == "hidden"
