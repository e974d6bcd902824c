"""Model files: whole or not there, one writer at a time, repaired, folders too."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from models import files
from models.definition import ModelDef, ModelError


def write_slowly(seed: int, path: Path) -> None:
    """Tells by a file a call that two writers never overlap."""
    mark = path.parent / "writing"
    with mark.open("x"):
        path.write_bytes(b"%d" % seed * 1000)
    mark.unlink()
    with (path.parent / "calls").open("a") as calls:
        calls.write("x")


def write_folder(seed: int, path: Path) -> None:
    (path / "inner").mkdir(parents=True)
    (path / "a").write_text(str(seed))
    (path / "inner" / "b").write_text("b")


def broken(seed: int, path: Path) -> None:
    path.write_bytes(b"half")
    raise ModelError("the exporter gave up")


def slow() -> ModelDef:
    return ModelDef("m", (1,), 1, 0, "", lambda _seed, x: x, {"onnx": write_slowly})


def of_folder() -> ModelDef:
    return ModelDef("m", (1,), 1, 0, "", lambda _seed, x: x, {"savedmodel": write_folder})


def write_one(directory: str) -> None:
    files.write(slow(), Path(directory), 5, "onnx")


def test_processes_that_want_the_same_file_write_it_once(tmp_path: Path) -> None:
    processes = [
        multiprocessing.get_context("spawn").Process(target=write_one, args=(str(tmp_path),)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "calls").read_text() == "x"
    assert (tmp_path / "m-r1-s5.onnx").read_bytes() == b"5" * 1000


def test_an_exporter_that_fails_leaves_nothing(tmp_path: Path) -> None:
    definition = ModelDef("m", (1,), 1, 0, "", lambda _seed, x: x, {"onnx": broken})
    with pytest.raises(ModelError, match="gave up"):
        files.write(definition, tmp_path, 0, "onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m-r1-s0.onnx.lock"]


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path: Path) -> None:
    (tmp_path / ".tmp-1-m-r1-s5.onnx").write_bytes(b"half")
    (tmp_path / ".tmp-1-m-r1-s6.onnx").write_bytes(b"another's")
    files.write(slow(), tmp_path, 5, "onnx")
    assert [path.name for path in tmp_path.glob(".tmp*")] == [".tmp-1-m-r1-s6.onnx"]


def test_a_folder_is_written_checked_and_repaired(tmp_path: Path) -> None:
    said: list[str] = []
    path = files.write(of_folder(), tmp_path, 1, "savedmodel", said.append)
    assert len(said) == 2
    assert files.size(path) == 2
    digest = files.digest_of(path)
    assert files.write(of_folder(), tmp_path, 1, "savedmodel", said.append) == path
    assert len(said) == 2
    (path / "inner" / "b").rename(path / "inner" / "c")  # the same bytes under another name
    assert files.digest_of(path) != digest
    files.write(of_folder(), tmp_path, 1, "savedmodel")
    assert files.digest_of(path) == digest
    assert sorted(each.name for each in path.rglob("*")) == ["a", "b", "inner"]


def test_a_directory_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ModelError, match=r"m-r1-s0\.onnx cannot be written"):
        files.write(slow(), tmp_path / "taken" / "x", 0, "onnx")
