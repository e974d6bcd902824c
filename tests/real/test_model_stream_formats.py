"""Messages and records of a stream of models, and which models are taken from a topic: format by format."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.messages import (
    FORMATS,
    Descriptor,
    MessageError,
    decode_descriptor,
    encode_descriptor,
    message,
    parse,
)
from models.payload import PayloadError, decode_output, encode_output, parse_input, payload_pool, restamp
from models.records import SourceError, encode_record, read_rows
from real.model_stream.lightgbm_text import LightGbmError, read_model
from real.model_stream.loaders import LoadError, Rules, load
from real.model_stream.prepare import corrupted
from tests.real.streams import onnx_model, scenario

PROTO = Path(__file__).resolve().parents[2] / "models" / "messages.proto"


def by_value(data: bytes, fmt: str = "onnx", name: str = "m", version: int = 1, kind: str = "wine") -> Descriptor:
    return Descriptor(name, "about", kind, fmt, data, None, version)


# -- messages ---------------------------------------------------------------------------------------------------


def test_the_classes_have_every_field_of_the_schema() -> None:
    text = re.sub(r"//.*", "", PROTO.read_text())
    for name, body in re.findall(r"message (\w+) \{((?:[^{}]|\{[^{}]*\})*)\}", text):
        wanted = {(field, int(number)) for field, number in re.findall(r"(\w+) = (\d+);", body)}
        fields = message(name).DESCRIPTOR.fields
        assert {(field.name, field.number) for field in fields} == wanted
    assert dict(re.findall(r"\b([A-Z]+) = ([1-9]);", text.partition("enum")[2].partition("}")[0])) == {
        word.upper(): str(number) for word, number in FORMATS.items()
    }


def test_a_wine_record_is_lightbends_by_the_byte() -> None:
    doubles = b"".join(bytes([number << 3 | 1]) + np.float64(number).tobytes() for number in range(1, 12))
    theirs = doubles + b"\x62\x04wine"  # their first version: eleven doubles and dataType
    assert len(theirs) == 105
    (values,) = parse_input("protobuf", theirs).values
    assert values.tolist() == list(range(1, 12))
    assert parse_input("protobuf", theirs).record_type == "wine"
    assert encode_record(range(1, 12), "wine", 0) == theirs
    assert len(encode_record(range(1, 12), "wine", 1_700_000_000_000)) == 112  # their second has the time too


@pytest.mark.parametrize(
    ("number", "content", "word"),
    [
        (0, b"\x2a\x01x", "tensorflow"),
        (1, b"\x2a\x01x", "pmml"),  # of the first version
        (2, b"\x2a\x01x", "pmml"),  # of the second
        (1, b"\x32\x01x", "savedmodel"),
        (9, b"\x2a\x01x", "#9"),
    ],
)
def test_the_formats_of_both_of_lightbends_versions_are_told_apart(number: int, content: bytes, word: str) -> None:
    found = decode_descriptor(b"\x0a\x01n\x12\x01d\x1a\x04wine" + bytes([0x20, number]) + content)
    assert (found.name, found.description, found.type, found.format) == ("n", "d", "wine", word)


def test_messages_come_back() -> None:
    for each in (by_value(b"\0\1"), Descriptor("n", "d", "t", "savedmodel", None, "file:///m", 7)):
        assert decode_descriptor(encode_descriptor(each)) == each
    with pytest.raises(ValueError, match="either data or a location"):
        encode_descriptor(Descriptor("n", "d", "t", "onnx", None, None, 7))
    for data in (b"", b"\x0a\x01n", b"\x0a\xff"):
        with pytest.raises(MessageError):
            decode_descriptor(data)


def test_records_come_back_and_outputs_repeat_them(tmp_path: Path) -> None:
    wine = encode_record(np.linspace(0, 1, 11), "wine", 5)
    other = encode_record([1.5, 2.5], "other", 5)
    for data, width in ((wine, 11), (other, 2)):
        found = parse_input("protobuf", data)
        assert found.values.shape == (1, width)
        assert found.created_ms == 5
        output = encode_output("protobuf", found, np.array([[0.25, 0.5]], np.float32), ("m", 300))
        back = decode_output("protobuf", output)
        assert back.prediction is not None
        assert back.prediction.tolist() == [[0.25, 0.5]]
        assert np.array_equal(back.values, found.values)
        scored = parse("Scored", output)
        assert (scored.model, scored.version, scored.record.SerializeToString()) == ("m", 300, data)
        assert parse_input("protobuf", restamp("protobuf", data, 77)).created_ms == 77
    assert len(encode_output("protobuf", parse_input("protobuf", wine), np.zeros((1, 1), np.float32))) > 100
    for bad in (b"", wine[:3], wine[:-1], encode_record([np.nan] * 11, "wine", 0)):
        with pytest.raises(PayloadError):
            parse_input("protobuf", bad)


def test_the_pool_of_records_is_every_row_in_every_type(tmp_path: Path) -> None:
    asked = scenario(tmp_path, ["name: a, path: sum.onnx, type: red"], types="{red: 1, white: 3}")
    pool = payload_pool(asked)
    assert len(pool) == 2 * 1599
    assert {parse_input("protobuf", each).record_type for each in pool[:1599]} == {"red"}
    rows = read_rows(PROTO.with_name("data") / "winequality_red.csv")
    assert rows.shape == (1599, 11)
    assert np.allclose(parse_input("protobuf", pool[1599]).values, rows[:1])


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no row"), ("a;b\n", "no row"), ("1;2\n3\n", ":2: 1 values"), ("1;2\nx;3\n", ":2:"), ("1;inf\n", "finite")],
)
def test_a_source_that_is_no_table_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(SourceError, match=words):
        read_rows(path)


# -- what may be loaded -----------------------------------------------------------------------------------------


def test_an_onnx_model_scores() -> None:
    found = load(by_value(onnx_model(np.arange(11.0), outputs=2)), Rules())
    assert found.scorer.score(np.ones((3, 11), np.float32)).tolist() == [[55.0, 55.0]] * 3


def _onnx_with(change: Any) -> bytes:
    import onnx

    model = onnx.ModelProto.FromString(onnx_model())
    change(model)
    return bytes(model.SerializeToString())


def _external(model: Any) -> None:
    import onnx

    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def _inner_external(model: Any) -> None:
    from onnx import helper

    inner = helper.make_graph([], "inner", [], [])
    tensor = inner.initializer.add(name="x")
    tensor.external_data.add(key="location", value="x")
    model.graph.node.append(helper.make_node("If", ["input"], ["y"], then_branch=inner, else_branch=inner))


def _foreign(model: Any) -> None:
    model.graph.node[0].domain = "com.example"


def _loop(model: Any) -> None:
    model.graph.node[0].op_type = "Loop"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_onnx_with(_external), "in another file"),
        (_onnx_with(_inner_external), "in another file"),
        (_onnx_with(_foreign), "none of ONNX"),
        (_onnx_with(_loop), "may never end"),
        (corrupted(onnx_model()), "model 'm'"),
        (b"", "computes nothing"),
        (onnx_model()[:-9], "model 'm'"),
    ],
)
def test_an_onnx_model_that_is_not_safe_or_not_whole_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(LoadError, match=words):
        load(by_value(data), Rules())


@pytest.mark.parametrize("fmt", ["pickle", "torchscript", "h5", "#99", ""])
def test_a_format_that_is_not_on_the_list_is_refused(fmt: str) -> None:
    with pytest.raises(LoadError, match="unknown format"):
        load(by_value(b"x", fmt), Rules())


def test_a_model_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx_model())
    rules = Rules(roots=(str(tmp_path),), max_bytes=100)
    with pytest.raises(LoadError, match="more than 100"):
        load(by_value(onnx_model()), rules)
    with pytest.raises(LoadError, match="larger than 100"):
        load(Descriptor("m", "", "wine", "onnx", None, str(path), 1), rules)


PMML = """<?xml version="1.0"?>{doctype}
<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>
<DataDictionary><DataField name="x" optype="continuous" dataType="double"/>
<DataField name="y" optype="continuous" dataType="double"/></DataDictionary>
<RegressionModel functionName="regression"><MiningSchema><MiningField name="x"/>
<MiningField name="y" usageType="target"/></MiningSchema>
<RegressionTable intercept="{value}"><NumericPredictor name="x" coefficient="2"/></RegressionTable>
</RegressionModel></PMML>"""


def test_pmml_scores_and_entities_are_refused(tmp_path: Path) -> None:
    plain = PMML.format(doctype="", value="1").encode()
    assert load(by_value(plain, "pmml"), Rules()).scorer.score(np.array([[3.0]], np.float32)).tolist() == [[7.0]]
    (tmp_path / "secret").write_text("1")
    for doctype, value in (
        ('<!DOCTYPE x [<!ENTITY a "1">]>', "&a;"),
        (f'<!DOCTYPE x [<!ENTITY a SYSTEM "file://{tmp_path}/secret">]>', "&a;"),
        ('<!DOCTYPE x [<!ENTITY a "1"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>', "&b;"),
        ("<!DOCTYPE x>", "1"),
    ):
        with pytest.raises(LoadError):
            load(by_value(PMML.format(doctype=doctype, value=value).encode(), "pmml"), Rules())
    with pytest.raises(LoadError):
        load(by_value(corrupted(plain), "pmml"), Rules())


LIGHTGBM = """tree
version=v4
num_class=1
num_tree_per_iteration=1
max_feature_idx=1
objective={objective}
feature_names=a b
tree_sizes=300 200

Tree=0
num_leaves=3
num_cat=0
split_feature=0 1
threshold=0.5 2
decision_type=2 {decision}
left_child={left} -2
right_child=-1 -3
leaf_value=1 2 4
shrinkage=1

Tree=1
num_leaves=1
num_cat=0
leaf_value=0.25
shrinkage=1

end of trees
"""
LIGHTGBM_GOOD = {"objective": "regression", "decision": "8", "left": "1"}


def test_lightgbms_text_scores() -> None:
    model = load(by_value(LIGHTGBM.format(**LIGHTGBM_GOOD).encode(), "lightgbm"), Rules()).scorer
    x = np.array([[1, 0], [0, 2], [0, 3], [np.nan, 2.5], [0, np.nan]], np.float32)
    # A missing value counts as 0 where the split knows none, else it goes where the split says (to the right here).
    assert model.score(x).ravel().tolist() == [1.25, 2.25, 4.25, 4.25, 4.25]
    logistic = read_model(LIGHTGBM.format(**LIGHTGBM_GOOD | {"objective": "binary sigmoid:2"}).encode())
    assert logistic.score(x[:1])[0, 0] == pytest.approx(1 / (1 + np.exp(-2.5)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"decision": "1"}, "categorical"),
        ({"decision": "99"}, "0 to 15"),
        ({"left": "0"}, "circles"),
        ({"left": "7"}, "left_child"),
        ({"left": "x"}, "left_child"),
        ({"left": "1 1"}, "3 values, expected 2"),
        ({"objective": "exec('x')"}, "objective"),
    ],
)
def test_a_lightgbm_text_that_is_not_understood_is_refused(change: dict[str, str], words: str) -> None:
    with pytest.raises(LightGbmError, match=words):
        read_model(LIGHTGBM.format(**LIGHTGBM_GOOD | change).encode())


def test_lightgbms_own_answers_are_repeated(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm", reason="LightGBM's own answers to compare with: pip install lightgbm")
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 5))
    x[rng.random(x.shape) < 0.1] = np.nan
    labels = (np.nan_to_num(x[:, 0]) > 0).astype(int) + (np.nan_to_num(x[:, 1]) > 1)
    for objective, classes in (("regression", 1), ("multiclass", 3), ("binary", 1), ("poisson", 1)):
        y = labels if objective != "binary" else labels > 0
        options = {"objective": objective, "verbose": -1, "num_leaves": 7, "num_threads": 1}
        booster = lightgbm.train(options | ({"num_class": 3} if classes == 3 else {}), lightgbm.Dataset(x, y), 8)
        answer = read_model(booster.model_to_string().encode()).score(x.astype(np.float32))
        expected = booster.predict(x.astype(np.float32)).reshape(len(x), -1)
        assert np.allclose(answer, expected, rtol=1e-4, atol=1e-6), objective


@pytest.mark.parametrize("fmt", ["onnx", "lightgbm", "pmml"])
def test_whatever_a_message_holds_it_is_loaded_or_refused(fmt: str) -> None:
    whole = {
        "onnx": onnx_model(),
        "lightgbm": LIGHTGBM.format(**LIGHTGBM_GOOD).encode(),
        "pmml": PMML.format(doctype="", value="1").encode(),
    }[fmt]
    rng, refused = np.random.default_rng(7), 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(len(data)))
            data[at : at + int(rng.integers(0, 3))] = rng.bytes(int(rng.integers(0, 3)))
        try:
            load(by_value(bytes(data), fmt), Rules())
        except LoadError:
            refused += 1
    assert refused > 30
