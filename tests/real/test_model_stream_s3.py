"""Models by reference in S3: read through s3fs from a server that speaks its protocol, below a configured root only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from real.model_stream.location import LocationError, fetch_folder, read

pytest.importorskip("s3fs", reason="models in S3: pip install 'weir[s3]'")
moto: Any = pytest.importorskip("moto.server", reason="a server that speaks S3: pip install 'moto[server]'")
boto3: Any = pytest.importorskip("boto3", reason="a client of S3 to lay models there: pip install boto3")
pytestmark = pytest.mark.filterwarnings("default")  # of the server and the client, which are not ours


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    import fsspec

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    patch = pytest.MonkeyPatch()
    for name, value in (
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        patch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    for key, data in (("models/m.onnx", b"model"), ("models/s/saved_model.pb", b"pb"), ("secret", b"secret")):
        client.put_object(Bucket="bucket", Key=key, Body=data)
    fsspec.filesystem("s3").clear_instance_cache()
    yield "s3://bucket"
    patch.undo()
    server.stop()


def test_a_model_is_read_from_below_its_root(bucket: str, tmp_path: Path) -> None:
    roots = [f"{bucket}/models"]
    assert read(f"{bucket}/models/m.onnx", roots, 100) == b"model"
    copy = fetch_folder(f"{bucket}/models/s", roots, 100, tmp_path)
    assert (copy / "saved_model.pb").read_bytes() == b"pb"
    with pytest.raises(LocationError, match="larger than 4"):
        read(f"{bucket}/models/m.onnx", roots, 4)
    with pytest.raises(LocationError, match="cannot be read"):
        read(f"{bucket}/models/absent", roots, 100)
    for location in (f"{bucket}/secret", f"{bucket}/models/../secret", "s3://other/models/m.onnx"):
        with pytest.raises(LocationError, match=r"root|empty parts"):
            read(location, roots, 100)
