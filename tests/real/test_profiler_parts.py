"""The profiler's parts that need no replica: cores, devices, the grid, its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models import place
from real.errors import RefusedError
from real.profiler import choice, cores, devices
from real.profiler.command import joined
from real.profiler.grid import Asked, Cell, cells, shuffled
from scenarios.spec import Model

SLEEP = ((Model(name="sleep"), "none"),)
EIGHT = range(8)


def asked(**fields: object) -> Asked:
    pinning = cores.pinning((), (0,), (1, 2, 3, 4), allow_overlap=False, available=EIGHT)
    return Asked(**{"models": SLEEP, "pinning": pinning, **fields})  # type: ignore[arg-type]


def test_cores_are_read_as_the_kernel_writes_them() -> None:
    assert cores.parse("-x", "0-2,5, 8") == (0, 1, 2, 5, 8)
    assert cores.parse("-x", "") == ()
    assert cores.listed((0, 1, 2, 5, 8)) == "0-2,5,8"
    for text in ("a", "1-", "-1", "3-1", "1,1", "0-2,2", "99999999", "1.5", "²"):
        with pytest.raises(RefusedError, match="-x: "):
            cores.parse("-x", text)


def test_whose_cores_are_whose_when_nothing_is_said() -> None:
    found = cores.pinning((0,), None, None, allow_overlap=False, available=EIGHT)
    assert (found.reserved, found.driver, found.model) == ((0,), (1,), (2, 3, 4, 5, 6, 7))
    found = cores.pinning((), None, (0, 1, 2), allow_overlap=False, available=EIGHT)
    assert found.driver == (3,)
    assert cores.pinning((), None, None, allow_overlap=True, available=[4]).model == (4,)


def test_overlap_is_an_error_unless_it_is_allowed() -> None:
    with pytest.raises(RefusedError, match="--model-cpus: core 1 is also in --driver-cpus"):
        cores.pinning((), (0, 1), (1, 2), allow_overlap=False, available=EIGHT)
    with pytest.raises(RefusedError, match="--driver-cpus: core 3 is also in --reserved-cpus"):
        cores.pinning((3,), (3,), (1, 2), allow_overlap=False, available=EIGHT)
    with pytest.raises(RefusedError, match="--model-cpus: no core is left"):
        cores.pinning((), None, None, allow_overlap=False, available=[4])
    with pytest.raises(RefusedError, match="--model-cpus: no core 9 for this process; it has 0-7"):
        cores.pinning((), None, (1, 9), allow_overlap=True, available=EIGHT)
    found = cores.pinning((), (0, 1), (1, 2), allow_overlap=True, available=EIGHT)
    assert (found.driver, found.model) == ((0, 1), (1, 2))


def test_cpus_per_replica_are_at_most_the_cores_over_the_most_replicas() -> None:
    assert [cell.cores for cell in cells(asked(replicas=(1, 2), cpus=(1, 2)))] == [
        ((1,),),
        ((1, 2),),
        ((1,), (2,)),
        ((1, 2), (3, 4)),
    ]
    with pytest.raises(RefusedError, match=r"2 for each of 3 replicas do not fit .* rounded down: 1"):
        cells(asked(replicas=(1, 3), cpus=(1, 2)))
    with pytest.raises(RefusedError, match=r"rounded down: 0; .* fewer --num-replicas"):
        cells(asked(replicas=(5,)))


def test_replicas_beyond_the_gpus_get_the_cpu() -> None:
    gpus = devices.pretended_gpus((0, 1), 4.0)
    (cell,) = cells(asked(replicas=(4,), gpus=gpus))
    assert [device.name for device in cell.devices] == ["pretended:0", "pretended:1", "cpu", "cpu"]
    (cell,) = cells(asked(replicas=(1,), gpus=gpus))
    assert [device.name for device in cell.devices] == ["pretended:0"]
    with pytest.raises(RefusedError, match="only the sleep model"):
        cells(asked(models=((Model(name="ffnn"), "onnx"),), gpus=gpus))


def test_gpus_that_are_not_there_are_refused(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert devices.present(tmp_path) == (0, 1)
    missing = max(devices.present(), default=-1) + 1
    with pytest.raises(RefusedError, match=f"--model-gpus: no GPU {missing}"):
        devices.real_gpus((missing,))


def test_the_grid_is_the_product_of_its_parameters_in_an_order_of_its_seed() -> None:
    found = cells(asked(replicas=(1, 2), cpus=(1, 2), batches=(1, 2, 4)))
    assert len(found) == 12
    assert len({cell.file for cell in found}) == 12
    assert shuffled(found, 1, 0) == shuffled(found, 1, 0)
    assert sorted(shuffled(found, 1, 0), key=found.index) == found
    assert len({tuple(cell.file for cell in shuffled(found, 1, turn)) for turn in range(5)}) == 5


def test_the_seeds_defaults() -> None:
    (cell,) = cells(asked())
    assert (cell.asked.duration_s, cell.batch, cell.replicas) == (120.0, 2, 1)


def test_a_cell_is_the_same_whatever_else_the_grid_has() -> None:
    def file(**fields: object) -> str:
        return next(cell.file for cell in cells(asked(**fields)) if cell.batch == 2 and cell.replicas == 1)

    assert file() == file(batches=(1, 2), replicas=(1, 2), repeats=7, precision=0.01)
    assert file() != file(duration_s=60.0)
    assert file() != file(seed=1)
    assert file() != file(models=((Model(name="sleep", base_ns=1), "none"),))


def test_another_file_of_the_same_name_is_another_cell(tmp_path: Path) -> None:
    path = tmp_path / "my.onnx"
    files = []
    for content in (b"a", b"b"):
        path.write_bytes(content)
        (cell,) = cells(asked(models=((Model(name="file", path=str(path)), "onnx"),)))
        files.append(cell.file)
    assert files[0] != files[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"batches": ()}, "--batch-sizes: is empty"),
        ({"batches": (0,)}, "--batch-sizes: 0 is not from 1"),
        ({"batches": (2, 2)}, "names a value twice"),
        ({"duration_s": 0.01}, "--duration"),
        ({"load": 1.5}, "--load"),
        ({"overload": 1.0}, "--overload"),
        ({"repeats": 0}, "--repeats"),
        ({"precision": 0.0}, "--precision"),
        ({"measures": ("speed",)}, "no measurement 'speed'; there are service"),
        ({"measures": ()}, "--measure: is empty"),
        ({"arrival": "bursty"}, "--arrival"),
        ({"models": ()}, "nothing to measure"),
        ({"rate_per_s": float("nan")}, "--rate"),
    ],
)
def test_what_is_out_of_bounds_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        cells(asked(**fields))


def test_models_and_runtimes_by_their_words(tmp_path: Path) -> None:
    pairs, _ = choice.chosen(["ffnn", "sleep", "noop"], ["onnx"])
    assert [(model.name, runtime) for model, runtime in pairs] == [
        ("ffnn", "onnx"),
        ("sleep", "none"),
        ("noop", "none"),
    ]
    ((model, runtime),), _ = choice.chosen(["sleep:base=1 ms,each=200 us"], ["all"])
    assert (model.base_ns, model.each_ns, runtime) == (1_000_000, 200_000, "none")
    everything, _ = choice.chosen(["all"], ["onnx"])
    names = [model.name for model, _ in everything]
    assert "ffnn" in names
    assert "resnet50" in names
    assert not {"sleep", "noop"} & set(names)
    for words, runtimes, message in (
        (["ffn"], ["all"], "no model 'ffn'; there are all, "),
        (["ffnn"], ["onyx"], "no runtime 'onyx'"),
        (["ffnn:base=1 ms"], ["all"], "no model"),
        (["sleep:base=1"], ["all"], "sleep: base: .*unit"),
        (["sleep:pause=1 ms"], ["all"], "sleep: 'pause=1 ms'"),
        (["sleep:base=-1 ms"], ["all"], "below zero"),
        ([str(tmp_path / "none.onnx")], ["onnx"], "no such file"),
    ):
        with pytest.raises(RefusedError, match=message):
            choice.chosen(words, runtimes)


def test_a_replicas_environment_says_threads_and_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    from models.definition import ModelError
    from models.scorer import load_scorer

    def threads() -> int:
        scorer: Any = load_scorer("ffnn", "onnx", tmp_path)
        return int(scorer._session.get_session_options().intra_op_num_threads)

    assert threads() == 1
    monkeypatch.setenv(place.THREADS, "2")
    assert threads() == 2
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        monkeypatch.setenv(place.GPU, "0")
        with pytest.raises(ModelError, match="knows no GPU"):
            threads()
        with pytest.raises(RefusedError, match="--model-gpus: this ONNX Runtime knows no GPU"):
            choice.refuse_gpu(((Model(name="ffnn"), "onnx"),))
    with pytest.raises(RefusedError, match="only the runtime onnx scores on a GPU, not none"):
        choice.refuse_gpu(SLEEP)


def test_clippers_way_of_giving_lists() -> None:
    given = ["vgg", "--batch_sizes", "1", "2", "4", "--model-gpus", "0", "1", "x", "--seed", "1", "7"]
    assert joined(given) == ["vgg", "--batch_sizes", "1,2,4", "--model-gpus", "0,1", "x", "--seed", "1", "7"]
    assert joined(["--num-replicas=1", "2"]) == ["--num-replicas=1", "2"]


def test_a_key_is_plain_json() -> None:
    (cell,) = cells(asked())
    assert isinstance(cell, Cell)
    assert json.loads(json.dumps(cell.key())) == cell.key()
