"""Each kind of mistake in a scenario, told at its exact line and column with what is allowed."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from scenarios.errors import ScenarioError
from scenarios.load import expand, load

SENT = "workload: {arrival: {rate: 5 /s}}\n"


def errors_of(path: Path, sets: tuple[str, ...] = ()) -> list[tuple[int | None, int | None, str, str]]:
    with pytest.raises(ScenarioError) as caught:
        load(path, sets)
    error = caught.value
    return [(e.line, e.column, e.key, e.message) for e in (error, *error.more)]


def write(folder: Path, text: str, name: str = "s.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


CASES = {
    "unknown key": (
        SENT + "engine:\n  paralelism: 4\n",
        (3, 3, "engine.paralelism"),
        "unknown key; did you mean 'parallelism'? allowed: kind, parallelism, commit_interval",
    ),
    "unknown key of the top": (
        SENT + "modle: ffnn\n",
        (2, 1, "modle"),
        "unknown key; did you mean 'model'? allowed: ext",
    ),
    "key of another section": (
        SENT + "broker: {acks: 1}\n",
        (2, 10, "broker.acks"),
        "did you mean 'broker.producer.acks'?",
    ),
    "key with a unit in its name": (
        SENT + "broker: {producer: {linger_ms: 5}}\n",
        (2, 21, "broker.producer.linger_ms"),
        "did you mean 'linger'?",
    ),
    "no unit": ("workload:\n  arrival: {rate: 30000}\n", (2, 19, "workload.arrival.rate"), "such as 30000 /s"),
    "wrong unit": (SENT + "broker: {producer: {linger: 5 sec}}\n", (2, 29, "broker.producer.linger"), "the unit 'sec'"),
    "unit on a count": (SENT + "engine: {parallelism: 4 /s}\n", (2, 23, "engine.parallelism"), "is a bare number"),
    "negative rate": (
        "workload: {arrival: {rate: -5 /s}}\n",
        (1, 28, "workload.arrival.rate"),
        "every 5 s is '0.2 /s'",
    ),
    "above the bound": (
        SENT + "engine: {parallelism: 5000}\n",
        (2, 23, "engine.parallelism"),
        "5000 is out of bounds; it must be at most 4096",
    ),
    "unknown engine": (
        SENT + "engine: {kind: flnk}\n",
        (2, 16, "engine.kind"),
        "no engine is called 'flnk'; did you mean 'flink'? allowed: python, kafka-streams",
    ),
    "unknown model": (SENT + "model: fnn\n", (2, 8, "model.name"), "did you mean 'ffnn'? allowed: ffnn, resnet50"),
    "unknown runtime": (SENT + "serving: {runtime: onx}\n", (2, 20, "serving.runtime"), "did you mean 'onnx'?"),
    "unknown broker": (
        SENT + "broker: {kind: kafak}\n",
        (2, 16, "broker.kind"),
        "did you mean 'kafka'? allowed: kafka, mock",
    ),
    "unknown client": (
        SENT + "broker: {client: librdkafka}\n",
        (2, 18, "broker.client"),
        "did you mean 'librdkafka-2'?",
    ),
    "word of another set": (
        SENT + "broker: {producer: {acks: 2}}\n",
        (2, 27, "broker.producer.acks"),
        "allowed: 0, 1, all",
    ),
    "mapping left empty": (
        SENT + "engine:\nmodel: ffnn\n",
        (3, 1, "engine"),
        "empty, not a mapping of kind, parallelism",
    ),
    "word for a mapping": (SENT + "engine: python\n", (2, 9, "engine"), "'python' is not a mapping of kind"),
    "word for a flag": (SENT + "check: {drain: 1}\n", (2, 16, "check.drain"), "1 is neither true nor false"),
    "value for a list": (SENT + "profile: {lingers: 5 ms}\n", (2, 20, "profile.lingers"), "is not a list"),
    "empty list": (SENT + "profile: {rates: []}\n", (2, 18, "profile.rates"), "must hold at least one value"),
    "item of a list": (SENT + "profile: {rates: [5 /s, 6]}\n", (2, 25, "profile.rates[1]"), "6 has no unit"),
    "name with a slash": (SENT + "name: a/b\n", (2, 7, "name"), "letters, digits"),
    "bootstrap without port": (
        SENT + "broker: {kind: external, bootstrap: localhost}\n",
        (2, 37, "broker.bootstrap"),
        "write host:port",
    ),
    "backlog without records": ("workload: {backlog: {}}\n", (1, 21, "workload.backlog.records"), "is missing"),
    "no load at all": ("workload: {points: 2}\n", (1, 11, "workload.arrival"), "nothing would be sent"),
    "a backlog of none": (
        "workload: {arrival: {rate: 0 /s}, backlog: {records: 0}}\n",
        (1, 28, "workload.arrival.rate"),
        "nothing would be sent",
    ),
    "no time": (
        "workload: {arrival: {rate: 5 /s}, warmup: 0 s, duration: 0 s}\n",
        (1, 58, "workload.duration"),
        "warmup + duration is 0",
    ),
    "nothing counted": (
        "workload: {arrival: {rate: 5 /s}, duration: 0 s}\n",
        (1, 45, "workload.duration"),
        "no record would be counted",
    ),
    "too many records": (
        "workload: {arrival: {rate: 1e8 /s}, duration: 1 h}\n",
        (1, 28, "workload.arrival.rate"),
        "shorten it or set records",
    ),
    "bursty field on constant": (
        "workload: {arrival: {rate: 5 /s, low: 5 s}}\n",
        (1, 34, "workload.arrival.low"),
        "arrival kind constant has no low (only bursty); it uses rate",
    ),
    "rate on a trace": (
        "workload: {arrival: {kind: trace, rate: 5 /s, path: t}}\n",
        (1, 35, "workload.arrival.rate"),
        "arrival kind trace has no rate",
    ),
    "gamma without cv": (
        "workload: {arrival: {kind: gamma, rate: 5 /s}}\n",
        (1, 21, "workload.arrival"),
        "arrival kind gamma needs cv; write cv: 2",
    ),
    "trace that is not there": (
        "workload: {arrival: {kind: trace, path: none.csv}}\n",
        (1, 41, "workload.arrival.path"),
        "no such file: ",
    ),
    "trace with a name too long": (
        "workload: {arrival: {kind: trace, path: " + "n" * 300 + "}}\n",
        (1, 41, "workload.arrival.path"),
        "cannot be read: ",
    ),
    "trace with a null in its name": (
        'workload: {arrival: {kind: trace, path: "a\\0"}}\n',
        (1, 41, "workload.arrival.path"),
        "no such file: ",
    ),
    "extends with a null in its name": ('extends: "a\\0"\n', (1, 10, "extends"), "write the name of a file"),
    "pad of a real model": (
        "workload: {arrival: {rate: 5 /s}, payload: {pad: 3 KiB}}\n",
        (1, 50, "workload.payload.pad"),
        "pad sets the size of a record of the model noop",
    ),
    "bootstrap of our own broker": (
        SENT + "broker: {bootstrap: 'localhost:9092'}\n",
        (2, 10, "broker.bootstrap"),
        "only a broker of kind external has bootstrap; this one is kafka",
    ),
    "external without bootstrap": (SENT + "broker: {kind: external}\n", (2, 16, "broker.kind"), "needs bootstrap"),
    "threads of a mock": (
        SENT + "broker: {kind: mock, io_threads: 4}\n",
        (2, 22, "broker.io_threads"),
        "no such threads",
    ),
    "nothing to check": (SENT + "check: {drain: false}\n", (2, 8, "check"), "nothing to check"),
    "unknown metric of max_error": (
        SENT + "check: {max_error: {throughputs: 0.1}}\n",
        (2, 21, "check.max_error.throughputs"),
        "did you mean 'throughput'?",
    ),
    "unknown metric": (SENT + "slo: {latency_p98: 50 ms}\n", (2, 7, "slo.latency_p98"), "did you mean 'latency_p9"),
    "bound without unit": (SENT + "slo: {latency_p99: 50}\n", (2, 20, "slo.latency_p99"), "'<= 50 ms'"),
    "bound of another unit": (SENT + "expect: {throughput: 5 ms}\n", (2, 22, "expect.throughput"), "needs one of /s"),
    "bound with a unit it has not": (SENT + "expect: {loss: 5 ms}\n", (2, 16, "expect.loss"), "loss has no unit"),
    "host of no part": (SENT + "hosts: {engin: {cores: 4}}\n", (2, 9, "hosts.engin"), "did you mean 'engine'?"),
    "host on nothing": (SENT + "hosts: {engine: {on: box}}\n", (2, 22, "hosts.engine.on"), "no host is called 'box'"),
    "host with both": (SENT + "hosts: {engine: {cores: 4, on: default}}\n", (2, 17, "hosts.engine"), "either cores"),
    "host word": (SENT + "hosts: that\n", (2, 8, "hosts"), "allowed: this, or a mapping"),
    "sweep of no list": (
        SENT + "sweep: {engine.parallelism: 4}\n",
        (2, 29, "sweep.engine.parallelism"),
        "a list of values",
    ),
    "sweep of an unknown key": (
        SENT + "sweep: {engine.paralelism: [4]}\n",
        (2, 9, "sweep.engine.paralelism"),
        "no such key to sweep; did you mean 'engine.parallelism'?",
    ),
    "bad value in a sweep": (
        SENT + "sweep:\n  engine.parallelism: [1, 0, 2]\n",
        (3, 27, "sweep.engine.parallelism[1]"),
        "must be at least 1",
    ),
    "sweep into an impossible combination": (
        "workload: {arrival: {rate: 5 /s}, payload: {pad: 1 KiB}}\nmodel: noop\nsweep: {model: [noop, ffnn]}\n",
        (3, 23, "sweep.model[1]"),
        "workload.payload.pad: pad sets the size",
    ),
    "zipped lists of unequal length": (
        SENT + "sweep:\n  zip:\n    engine.parallelism: [1, 2, 4]\n    broker.partitions: [4, 8]\n",
        (5, 24, "sweep.zip.broker.partitions"),
        "must be of one length: engine.parallelism has 3, broker.partitions has 2",
    ),
    "bad value in a zip": (
        SENT + "sweep: {zip: [{workload.points: [1, 2]}, {engine.parallelism: [1, 2], broker.partitions: [4, 0]}]}\n",
        (2, 94, "sweep.zip[1].broker.partitions[1]"),
        "must be at least 1",
    ),
    "zip into an impossible combination": (
        SENT + "model: noop\nsweep: {zip: {model: [noop, ffnn], workload.payload.pad: [1 KiB, 2 KiB]}}\n",
        (3, 66, "sweep.zip.workload.payload.pad[1]"),
        "pad sets the size",
    ),
    "zip of an unknown key": (
        SENT + "sweep: {zip: {engine.paralelism: [4]}}\n",
        (2, 15, "sweep.zip.engine.paralelism"),
        "did you mean 'engine.parallelism'?",
    ),
    "zip of no list": (SENT + "sweep: {zip: {model: noop}}\n", (2, 22, "sweep.zip.model"), "must be a list of values"),
    "zip of nothing": (SENT + "sweep: {zip: {}}\n", (2, 14, "sweep.zip"), "dotted keys to lists of one length"),
    "zip of words": (SENT + "sweep: {zip: [a, {model: [noop]}]}\n", (2, 14, "sweep.zip"), "lists of one length"),
    "swept and zipped": (
        SENT + "sweep: {zip: {model: [noop]}, model: [noop]}\n",
        (2, 31, "sweep.model"),
        "is swept twice (also sweep.zip.model)",
    ),
    "repeats in a zip": (
        SENT + "sweep: {zip: {model: [noop], repeats: 3}}\n",
        (2, 30, "sweep.zip.repeats"),
        "stands beside zip, not in it",
    ),
    "sweep repeats": (SENT + "sweep: {repeats: 0}\n", (2, 18, "sweep.repeats"), "must be at least 1"),
    "sweep that is none": (SENT + "sweep: 3\n", (2, 8, "sweep"), "must map dotted keys to lists"),
    "too many points": (
        SENT + "sweep: {workload.points: [" + "1, " * 150 + "1], workload.producers: [" + "1, " * 150 + "1]}\n",
        (2, 1, "sweep"),
        "22,801 points, more than 10,000",
    ),
    "key twice": ("name: a\nname: b\n", (2, 1, "name"), "written twice (first on line 1)"),
    "not YAML": ("engine: [1\n", (2, 1, ""), "not YAML: expected ',' or ']'"),
    "bound that needs quotes": ("slo:\n  throughput: >= 5 /s\n", (2, 16, ""), "stands in quotes: '>= 1000 /s'"),
    "two documents": ("name: a\n---\nname: b\n", (2, 1, ""), "not YAML: but found another document"),
    "tabs": ("engine:\n\tkind: python\n", (2, 1, ""), "indent with spaces"),
    "a list": ("- a\n- b\n", (1, 1, ""), "the file is not a mapping"),
    "empty": ("# nothing\n", (1, 1, ""), "the file is empty"),
    "an alias of itself": ("engine: &a [*a]\n", (1, 9, "engine[0][0]"), "nested too deeply"),
    "a tag": ("engine: !!python/name:os.system x\n", (1, 9, "engine"), "is not read here"),
    "a key that is a list": ("[a]: 1\n", (1, 1, ""), "a key must be a word"),
    "extends a number": ("extends: 3\n", (1, 10, "extends"), "write the name of a file"),
    "extends a missing file": ("extends: none.yaml\n", (1, 10, "extends"), "none.yaml: no such file"),
    "not a number": (
        SENT + "engine: {parallelism: .nan}\n",
        (2, 23, "engine.parallelism"),
        "nan is not a finite number",
    ),
    "half a count": (SENT + "workload2: 1\n", (2, 1, "workload2"), "did you mean 'workload'?"),
}


@pytest.mark.parametrize("name", CASES)
def test_error(tmp_path: Path, name: str) -> None:
    text, where, message = CASES[name]
    path = write(tmp_path, text)
    (found,) = errors_of(path)
    assert found[:3] == where
    assert message in found[3]
    line, column, key = where
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{line}:{column}: " + (f"{key}: " if key else ""))


def test_all_errors_of_a_pass_are_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "engine: {kind: flnk, paralelism: 3}\nbroker:\n  partitions: 0\n  producer: {linger: 5}\n")
    assert [(line, key) for line, _, key, _ in errors_of(path)] == [
        (1, "engine.kind"),
        (1, "engine.paralelism"),
        (3, "broker.partitions"),
        (4, "broker.producer.linger"),
    ]
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert len(str(caught.value).splitlines()) == 4


def test_a_missing_file_names_its_path(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path / "none.yaml")
    assert str(caught.value) == f"{tmp_path / 'none.yaml'}: no such file"
    assert caught.value.line is None


def test_a_folder_and_a_binary_file_are_told(tmp_path: Path) -> None:
    assert "cannot be read" in errors_of(tmp_path)[0][3]
    (tmp_path / "b.yaml").write_bytes(b"name: a\n\xff\xfe\n")
    assert errors_of(tmp_path / "b.yaml")[0] == (2, None, "", "not UTF-8 text")


def test_an_error_in_an_extended_file_names_that_file(tmp_path: Path) -> None:
    write(tmp_path, SENT + "engine:\n  parallelism: 0\n", "base.yaml")
    path = write(tmp_path, "extends: base.yaml\nbroker: {partitions: 0}\n")
    with pytest.raises(ScenarioError) as caught:
        load(path)
    found = {(Path(e.file).name, e.line, e.column, e.key) for e in (caught.value, *caught.value.more)}
    assert found == {("base.yaml", 3, 16, "engine.parallelism"), ("s.yaml", 2, 22, "broker.partitions")}


def test_a_file_that_extends_itself_is_told(tmp_path: Path) -> None:
    write(tmp_path, "extends: s.yaml\n", "other.yaml")
    path = write(tmp_path, "extends: other.yaml\n")
    ((line, column, key, message),) = errors_of(path)
    assert (line, column, key) == (1, 10, "extends")
    assert message == "a scenario that extends itself: s.yaml -> other.yaml -> s.yaml"


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("engine.parallelism=x", "--set: engine.parallelism: 'x' is not a count"),
        ("engine.paralelism=3", "--set: engine.paralelism: unknown key; did you mean 'parallelism'?"),
        ("engine.parallelism", "--set: engine.parallelism"),
        ("=3", "--set: '=3' is not key.path=value"),
        ("engine.parallelism=[1", "--set: engine.parallelism: not YAML"),
        ("engine.kind.x=1", "--set: engine.kind.x: engine.kind is not a mapping, so it has no x"),
        ("workload.arrival.rate=5", "--set: workload.arrival.rate: 5 has no unit"),
        ("sweep.engine.parallelism=3", "--set: sweep.engine.parallelism: must be a list"),
        ("sweep.engine.parallelism=[1, x]", "--set: sweep.engine.parallelism[1]: 'x' is not a count"),
        ("slo.latency_p98=1 ms", "--set: slo.latency_p98: unknown metric"),
        ("engine.parallelism=", "--set: engine.parallelism: has no value; write engine.parallelism=null for nothing"),
        ("engine.parallelism= # four", "--set: engine.parallelism: has no value"),
        ("engine=", "--set: engine: has no value"),
        ("slo.latency_p99=", "--set: slo.latency_p99: has no value"),
        ("sweep.engine.parallelism=", "--set: sweep.engine.parallelism: has no value"),
        ("hosts.engine=", "--set: hosts.engine: has no value"),
        ("stages.a.workers=2", "--set: stages.a.workers: no stage is called 'a'; there are no stages"),
        ("sweep.stages.a.workers=[2]", "--set: sweep.stages.a.workers: no stage is called 'a'"),
    ],
)
def test_an_error_in_a_set_names_the_set(tmp_path: Path, text: str, start: str) -> None:
    path = write(tmp_path, SENT + "engine: {kind: python}\n")
    with pytest.raises(ScenarioError) as caught:
        load(path, [text])
    assert str(caught.value).startswith(start)
    assert caught.value.line is None


def test_nothing_is_written_where_it_is_meant(tmp_path: Path) -> None:
    path = write(tmp_path, SENT + "engine: {parallelism: 4}\nsweep: {engine.parallelism: [1, 2]}\n")
    assert load(path, ["engine.parallelism=null"]).engine.parallelism == 1
    spark = ["sweep=null", "engine.kind=spark", "engine.task_slots=3"]
    for nothing in ("", "null", "~", " null # none"):
        assert load(path, [*spark, f"engine.task_slots={nothing}"]).engine.task_slots is None


def test_a_misspelt_stage_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, SENT + "engine: {kind: graph}\nstages: {scorer: {}}\n")
    with pytest.raises(ScenarioError, match="no stage is called 'scoer'; did you mean 'scorer'"):
        load(path, ["stages.scoer.workers=2"])
    assert load(path, ["stages.scorer.workers=2"]).stages[0].workers == 2
    made = load(path, ["stages.scorer.next=[{to: b}]", "stages.b={}", "stages.b.workers=3"])
    assert [stage.workers for stage in made.stages] == [1, 3]


def test_a_point_of_the_grid_that_cannot_be_is_told(tmp_path: Path) -> None:
    text = "sweep: {workload.warmup: [0 s, 1 s], workload.duration: [1 s, 2 s]}\n"
    assert len(expand(write(tmp_path, SENT + text))) == 4
    text = "sweep: {model: [noop, ffnn], workload.payload.pad: [0 B, 1 KiB]}\nmodel: noop\n"
    with pytest.raises(ScenarioError, match="pad sets the size"):
        expand(write(tmp_path, SENT + text))


def test_an_error_survives_another_process(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(write(tmp_path, "a: 1\nb: 2\n"))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
