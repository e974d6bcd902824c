"""PMML: what is written comes back, other writers' trees are read, and what is not read here is refused by name."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from models.classical import Linear, Mlp, Trees
from models.classical_pmml import pmml_bytes
from models.definition import ModelError
from models.pmml_read import MAX_DEPTH, read_pmml
from models.wine import KINDS, fitted, labels, wines
from models.wine_data import FEATURES, QUALITIES, TARGET

PMML_KINDS = [name for name, kind in KINDS.items() if "pmml" in kind.formats]


def document(model: str, classes: str = "", extra: str = "", head: str = "") -> bytes:
    """A PMML file with the fields a and b and the target y."""
    target = "categorical" if classes else "continuous"
    values = "".join(f'<Value value="{each}"/>' for each in classes.split())
    fields = (
        '<DataField name="a" optype="continuous" dataType="double"/>'
        f'<DataField name="y" optype="{target}" dataType="double">{values}</DataField>'
        '<DataField name="b" optype="continuous" dataType="double"/>'
    )
    root = f'<PMML xmlns="http://www.dmg.org/PMML-4_2" version="4.2"><Header/><DataDictionary>{fields}</DataDictionary>'
    return f'<?xml version="1.0"?>{head}{root}{extra}{model}</PMML>'.encode()


SCHEMA = (
    '<MiningSchema><MiningField name="b"/><MiningField name="a"/>'
    '<MiningField name="y" usageType="target"/></MiningSchema>'
)


def tree(nodes: str, function: str = "regression", attributes: str = "") -> str:
    return f'<TreeModel functionName="{function}" {attributes}>{SCHEMA}{nodes}</TreeModel>'


def predicate(operator: str, value: float, field: str = "a") -> str:
    return f'<SimplePredicate field="{field}" operator="{operator}" value="{value}"/>'


@pytest.mark.parametrize("name", PMML_KINDS)
def test_what_is_written_comes_back(name: str) -> None:
    model, names = fitted(name, 2), labels(name)
    data = pmml_bytes(model, name, names.fields, names.target, names.classes, names.origin)
    back = read_pmml(data)
    assert (back.name, back.fields, back.target, back.classes) == (name, FEATURES, TARGET, KINDS[name].classes)
    assert type(back.model) is type(model)
    x = wines(200, 5)
    np.testing.assert_allclose(back.score(x), model.score(x), rtol=1e-6, atol=1e-7)
    assert b"Cortez" in data
    assert data == pmml_bytes(model, name, names.fields, names.target, names.classes, names.origin)


def test_fields_are_in_the_order_of_the_dictionary() -> None:
    table = (
        '<RegressionTable intercept="1"><NumericPredictor name="b" coefficient="10"/>'
        '<NumericPredictor name="a" coefficient="2"/></RegressionTable>'
    )
    found = read_pmml(document(f'<RegressionModel functionName="regression">{SCHEMA}{table}</RegressionModel>'))
    assert (found.fields, found.target) == (("a", "b"), "y")
    np.testing.assert_allclose(found.score(np.array([[1, 1], [0, 2]], np.float32)), [[13], [21]])


@pytest.mark.parametrize(
    ("operator", "at", "above"),
    [("lessOrEqual", 1.0, 2.0), ("lessThan", 2.0, 2.0), ("greaterThan", 2.0, 1.0), ("greaterOrEqual", 1.0, 1.0)],
)
def test_every_operator_at_its_threshold(operator: str, at: float, above: float) -> None:
    """The child asked for answers 1; what falls through answers 2."""
    nodes = f'<Node><True/><Node score="1">{predicate(operator, 0.5)}</Node><Node score="2"><True/></Node></Node>'
    found = read_pmml(document(tree(nodes)))
    np.testing.assert_array_equal(found.score(np.array([[0.5, 0], [0.75, 0]], np.float32)), [[at], [above]])


def test_children_are_asked_in_turn_and_the_last_prediction_stands() -> None:
    nodes = (
        f'<Node score="9"><True/><Node score="1">{predicate("lessThan", 0)}</Node>'
        f'<Node score="2">{predicate("lessThan", 1)}</Node></Node>'
    )
    x = np.array([[-1, 0], [0, 0], [1, 0]], np.float32)
    found = read_pmml(document(tree(nodes, attributes='noTrueChildStrategy="returnLastPrediction"')))
    np.testing.assert_array_equal(found.score(x), [[1], [2], [9]])
    with pytest.raises(ModelError, match="leave a value without an answer"):
        read_pmml(document(tree(nodes)))


def test_a_vote_and_a_mean_of_trees() -> None:
    leaf = (
        '<Node score="{}"><True/><ScoreDistribution value="p" recordCount="{}"/>'
        '<ScoreDistribution value="q" recordCount="{}"/></Node>'
    )
    trees = [leaf.format("p", 3, 1), leaf.format("q", 0, 5), leaf.format("p", 6, 4)]
    segments = "".join(f"<Segment><True/>{tree(each, 'classification')}</Segment>" for each in trees)
    for method, expected in (
        ("average", [(0.75 + 0 + 0.6) / 3, (0.25 + 1 + 0.4) / 3]),
        ("majorityVote", [2 / 3, 1 / 3]),
    ):
        ensemble = f'<Segmentation multipleModelMethod="{method}">{segments}</Segmentation>'
        mining = f'<MiningModel functionName="classification">{SCHEMA}{ensemble}</MiningModel>'
        found = read_pmml(document(mining, classes="p q"))
        assert found.classes == ("p", "q")
        np.testing.assert_allclose(found.score(np.zeros((1, 2), np.float32)), [expected], rtol=1e-6)


def test_classes_come_in_the_order_of_the_dictionary() -> None:
    model = Mlp(((np.eye(2, dtype=np.float32), np.array([0, 1], np.float32)),) * 2)
    data = pmml_bytes(model, "m", ("a", "b"), "y", ("p", "q"))
    turned = data.replace(
        b'<Value value="p" />\n   <Value value="q" />', b'<Value value="q" />\n   <Value value="p" />'
    )
    assert turned != data
    x = np.random.default_rng(0).random((3, 2), dtype=np.float32)
    np.testing.assert_allclose(read_pmml(turned).score(x), model.score(x)[:, ::-1], rtol=1e-6)


LEAF = '<Node score="1"><True/></Node>'
BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x SYSTEM "file:///etc/hostname">'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not well-formed"),
        (b"model", "not well-formed"),
        (b"<a/>", "outermost element is 'a'"),
        (document(tree(LEAF))[:-9], "not well-formed"),
        (document(tree(LEAF), head=BOMB), "document type or entities"),
        (document(tree(LEAF), head=OUTSIDE), "document type or entities"),
        (b"<?xml version='1.0' encoding='ebcdic-999'?><PMML/>", "not well-formed"),
        (document(""), "models found: none"),
        (document(tree(LEAF) + tree(LEAF)), "models found: TreeModel, TreeModel"),
        (document('<ClusteringModel functionName="clustering"/>'), "models found: ClusteringModel"),
        (document(tree(LEAF, "clustering")), "functionName 'clustering'"),
        (document(tree(LEAF, "classification")), "has 0 classes"),
        (document(tree(LEAF), extra="<TransformationDictionary><DerivedField/></TransformationDictionary>"), "Transf"),
        (document(tree("<LocalTransformations><DerivedField/></LocalTransformations>" + LEAF)), "LocalTransformations"),
        (document(tree("<Targets><Target/></Targets>" + LEAF)), "Targets"),
        (document(tree("")), "root Node"),
        (document(tree("<Node><True/></Node>")), "'score' is missing"),
        (document(tree('<Node score="much"><True/></Node>')), "could not convert"),
        (document(tree('<Node score="inf"><True/></Node>')), "not a finite number"),
        (document(tree('<Node score="1"><True/><Node score="1"><False/></Node></Node>')), "predicate False"),
        (document(tree(f'<Node><True/><Node score="1">{predicate("equal", 1)}</Node></Node>')), "operator 'equal'"),
        (
            document(tree(f'<Node><True/><Node score="1">{predicate("lessThan", 1, "c")}</Node></Node>')),
            "'c' is missing",
        ),
        (document(tree("<Node><True/>" + LEAF * 65 + "</Node>")), "65 children"),
        (document(tree(LEAF).replace('name="b"', 'name="c"')), "fields ['c'] are not in the data dictionary"),
        (document(tree(LEAF).replace('name="b"', 'name="b" outliers="asExtremeValues"')), "outliers of 'b'"),
        (document(tree("<Node><True/>" * MAX_DEPTH + "</Node>" * MAX_DEPTH)), "nested deeper"),
    ],
)
def test_what_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ModelError) as refused:
        read_pmml(data)
    assert message in str(refused.value)


def test_a_file_that_is_too_long() -> None:
    data = document(tree(LEAF))
    assert read_pmml(data, len(data)).outputs == 1
    with pytest.raises(ModelError, match="allowed are 10"):
        read_pmml(data, 10)


def test_a_deep_tree_of_many_children_ends_in_a_message() -> None:
    """As deep as XML may be here, every level asking many questions: more than Python's own stack would take."""
    level = "<Node>{}" + f"<Node score='1'>{predicate('lessThan', 1)}</Node>" * 60
    nodes = level.format("<True/>") + level.format("<True/>") * 300 + "</Node>" * 301
    with pytest.raises(ModelError, match="too deep"):
        read_pmml(document(tree(nodes, attributes='noTrueChildStrategy="returnLastPrediction"')))


@pytest.mark.parametrize("at", range(50, 1500, 97))
def test_a_damaged_file_is_never_anything_but_a_model_error(at: int) -> None:
    names = labels("wine-glm-gamma")
    data = pmml_bytes(fitted("wine-glm-gamma", 0), "m", names.fields, names.target)
    with pytest.raises(ModelError):
        read_pmml(data[:at])
    for broken in (data[:at] + data[at + 9 :], data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]):
        with contextlib.suppress(ModelError):  # a digit of a number may be hit, and nobody can tell
            read_pmml(broken)


def test_models_without_a_pmml_form_are_refused() -> None:
    two = Linear(np.ones((2, 2), np.float32), np.ones(2, np.float32))
    with pytest.raises(TypeError, match="several outputs"):
        pmml_bytes(two, "m", ("a", "b"), "y")
    logits = Mlp(((np.ones((2, 2), np.float32), np.ones(2, np.float32)),), last="identity")
    with pytest.raises(TypeError, match="softmax of classes"):
        pmml_bytes(logits, "m", ("a", "b"), "y", ("p", "q"))


def test_a_logistic_sum_of_trees_comes_back() -> None:
    from models.lightgbm_model import fitted as boosted

    model = boosted(3)
    names = tuple(f"x{i}" for i in range(model.values))
    back = read_pmml(pmml_bytes(model, "m", names, "y"))
    assert back.classes == ("0", "1")
    assert isinstance(back.model, Trees)
    assert back.model.last == "sigmoid"
    x = np.random.default_rng(0).random((20, model.values), dtype=np.float32)
    np.testing.assert_allclose(back.score(x), model.score(x), rtol=1e-6)


def test_the_size_of_a_forests_file(tmp_path: Path) -> None:
    names = labels("wine-forest")
    data = pmml_bytes(fitted("wine-forest", 0), "m", names.fields, names.target, names.classes)
    assert 250_000 < len(data) < 400_000
    assert len(QUALITIES) == 6
