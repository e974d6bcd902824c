"""Classical models as PMML 4.4: linear and generalised linear models, trees, sums of trees, perceptrons.

Kernel machines have no PMML here: thousands of values for each of hundreds of vectors, as text, make a file of tens of
megabytes, and kernel principal components have no element at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from models.classical import Between, Classical, Linear, Mlp, Trees

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMESPACE = "http://www.dmg.org/PMML-4_4"
#: The two classes of a model of one probability, the second's.
BINARY = ("0", "1")
#: What stands between layers -> its word in PMML.
ACTIVATIONS: dict[Between, str] = {"relu": "rectifier", "sigmoid": "logistic", "tanh": "tanh"}


def pmml_bytes(
    model: Classical, name: str, fields: Sequence[str], target: str, classes: Sequence[str] = (), copyright_: str = ""
) -> bytes:
    """The PMML file of a model; equal models give equal bytes.

    Args:
        model: A `Linear`, `Trees` or `Mlp`.
        name: The model's name.
        fields: One name a value of a point.
        target: Name of what is predicted.
        classes: Of a classifier, one name an output; a sigmoid of one output has the classes "0" and "1".
        copyright_: What the header says.

    Raises:
        TypeError: The model has no PMML form.
    """
    if isinstance(model, Trees) and model.last == "sigmoid":
        classes = BINARY
    root = ET.Element("PMML", xmlns=NAMESPACE, version="4.4")
    header = _sub(root, "Header", copyright=copyright_) if copyright_ else _sub(root, "Header")
    _sub(header, "Application", name="weir")
    dictionary = _sub(root, "DataDictionary", numberOfFields=len(fields) + 1)
    for field in fields:
        _sub(dictionary, "DataField", name=field, optype="continuous", dataType="double")
    if classes:
        field_element = _sub(dictionary, "DataField", name=target, optype="categorical", dataType="string")
        for each in classes:
            _sub(field_element, "Value", value=each)
    else:
        _sub(dictionary, "DataField", name=target, optype="continuous", dataType="double")
    element = _element(model, name, fields, target, classes)
    if classes:
        # Right after the schema of fields: its place in the order that the standard prescribes.
        element.insert(1, _probabilities(target, classes))
    root.append(element)
    ET.indent(root, " ")
    body: bytes = ET.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + body + b"\n"


@singledispatch
def _element(model: Any, name: str, fields: Sequence[str], target: str, classes: Sequence[str]) -> ET.Element:
    raise TypeError(f"no PMML form of {type(model).__name__}")


@_element.register
def _(model: Linear, name: str, fields: Sequence[str], target: str, classes: Sequence[str]) -> ET.Element:
    if model.outputs != 1 or classes:
        raise TypeError("no PMML form of a linear model of several outputs")
    if model.family == "none":
        element = _model("RegressionModel", name, "regression", fields, target)
        table = _sub(element, "RegressionTable", intercept=_number(model.bias[0]))
        for field, coefficient in zip(fields, model.matrix[0], strict=True):
            if coefficient != 0:
                _sub(table, "NumericPredictor", name=field, coefficient=_number(coefficient))
        return element
    element = _model("GeneralRegressionModel", name, "regression", fields, target)
    element.attrib.update(modelType="generalizedLinear", distribution=model.family)
    element.set("linkFunction", "log" if model.family == "gamma" else "identity")
    parameters = _sub(element, "ParameterList")
    _sub(parameters, "Parameter", name="p0", label="Intercept")
    for i, field in enumerate(fields, 1):
        _sub(parameters, "Parameter", name=f"p{i}", label=field)
    _sub(element, "FactorList")
    covariates = _sub(element, "CovariateList")
    for field in fields:
        _sub(covariates, "Predictor", name=field)
    cells = _sub(element, "PPMatrix")
    for i, field in enumerate(fields, 1):
        _sub(cells, "PPCell", value="1", predictorName=field, parameterName=f"p{i}")
    matrix = _sub(element, "ParamMatrix")
    for i, beta in enumerate([model.bias[0], *model.matrix[0]]):
        _sub(matrix, "PCell", parameterName=f"p{i}", df="1", beta=_number(beta))
    return element


@_element.register
def _(model: Trees, name: str, fields: Sequence[str], target: str, classes: Sequence[str]) -> ET.Element:
    if model.last == "sigmoid":
        return _logistic(model, name, fields, target)
    spans = model.trees()
    if len(spans) == 1:
        return _tree(model, spans[0], 1, name, fields, target, classes)
    # Classes are averaged, not summed: the sum of shares stays one, and the leaves hold whole distributions.
    element = _model("MiningModel", name, "classification" if classes else "regression", fields, target)
    method = "average" if classes else "sum"
    segmentation = _sub(element, "Segmentation", multipleModelMethod=method)
    for i, span in enumerate(spans):
        segment = _sub(segmentation, "Segment", id=i + 1)
        _sub(segment, "True")
        segment.append(_tree(model, span, len(spans) if classes else 1, None, fields, None, classes))
    return element


def _logistic(model: Trees, name: str, fields: Sequence[str], target: str) -> ET.Element:
    """A sum of trees whose logistic function is the probability of class "1"."""
    raw = f"{target}_raw"
    element = _model("MiningModel", name, "classification", fields, target)
    segmentation = _sub(element, "Segmentation", multipleModelMethod="modelChain")
    first = _sub(segmentation, "Segment", id=1)
    _sub(first, "True")
    total = _model("MiningModel", None, "regression", fields, None)
    output = _sub(total, "Output")
    _sub(output, "OutputField", name=raw, optype="continuous", dataType="double", feature="predictedValue")
    inner = _sub(total, "Segmentation", multipleModelMethod="sum")
    for i, span in enumerate(model.trees()):
        segment = _sub(inner, "Segment", id=i + 1)
        _sub(segment, "True")
        segment.append(_tree(model, span, 1, None, fields, None, ()))
    first.append(total)
    second = _sub(segmentation, "Segment", id=2)
    _sub(second, "True")
    logit = _model("RegressionModel", None, "classification", [raw], target)
    logit.set("normalizationMethod", "logit")
    table = _sub(logit, "RegressionTable", intercept=0, targetCategory=BINARY[1])
    _sub(table, "NumericPredictor", name=raw, coefficient=1)
    _sub(logit, "RegressionTable", intercept=0, targetCategory=BINARY[0])
    second.append(logit)
    return element


def _tree(
    model: Trees,
    span: range,
    times: int,
    name: str | None,
    fields: Sequence[str],
    target: str | None,
    classes: Sequence[str],
) -> ET.Element:
    """One tree; a leaf's answer is multiplied by `times`, where the trees are averaged."""
    import numpy as np

    used = [fields[i] for i in sorted({int(model.feature[node]) for node in span} - {-1})] if name is None else fields
    element = _model("TreeModel", name, "classification" if classes else "regression", used, target)
    element.set("splitCharacteristic", "binarySplit")
    waiting = [(span.start, element, ET.Element("True"))]
    while waiting:
        node, parent, predicate = waiting.pop()
        here = ET.SubElement(parent, "Node")
        here.append(predicate)
        answer = model.leaf[node].astype(np.float64) * times
        if classes and answer.any():  # an inner node has its shares too, for readers that stop at a missing value
            here.set("score", classes[int(np.argmax(model.leaf[node]))])
            for each, share in zip(classes, answer, strict=True):
                _sub(here, "ScoreDistribution", value=each, recordCount=_number(share))
        if model.feature[node] >= 0:
            split = {"field": fields[int(model.feature[node])], "value": _number(model.threshold[node])}
            goes_left = ET.Element("SimplePredicate", {**split, "operator": "lessOrEqual"})
            goes_right = ET.Element("SimplePredicate", {**split, "operator": "greaterThan"})
            waiting.append((int(model.right[node]), here, goes_right))
            waiting.append((int(model.left[node]), here, goes_left))
        elif not classes:
            here.set("score", _number(answer[0]))
    return element


@_element.register
def _(model: Mlp, name: str, fields: Sequence[str], target: str, classes: Sequence[str]) -> ET.Element:
    if model.last != "softmax" or not classes:
        raise TypeError("a perceptron has a PMML form only where its answer is the softmax of classes")
    element = _model("NeuralNetwork", name, "classification", fields, target)
    element.set("activationFunction", ACTIVATIONS[model.between])
    entered = _sub(element, "NeuralInputs", numberOfInputs=len(fields))
    for i, field in enumerate(fields):
        derived = _sub(_sub(entered, "NeuralInput", id=f"0,{i}"), "DerivedField", optype="continuous")
        derived.set("dataType", "double")
        if model.mean is None or model.scale is None:
            _sub(derived, "FieldRef", field=field)
            continue
        # Two points of the line (v - mean) / scale, which goes on beyond them.
        line = _sub(derived, "NormContinuous", field=field, outliers="asIs")
        mean, scale = float(model.mean[i]), float(model.scale[i])
        _sub(line, "LinearNorm", orig=_number(mean), norm="0")
        _sub(line, "LinearNorm", orig=_number(mean + scale), norm="1")
    for depth, (matrix, bias) in enumerate(model.layers, 1):
        layer = _sub(element, "NeuralLayer", numberOfNeurons=len(bias))
        if depth == len(model.layers):
            layer.attrib.update(activationFunction="identity", normalizationMethod="softmax")
        for i, (row, intercept) in enumerate(zip(matrix, bias, strict=True)):
            neuron = _sub(layer, "Neuron", id=f"{depth},{i}", bias=_number(intercept))
            _connect(neuron, depth - 1, row)
    left = _sub(element, "NeuralOutputs", numberOfOutputs=len(classes))
    for i, each in enumerate(classes):
        derived = _sub(_sub(left, "NeuralOutput", outputNeuron=f"{len(model.layers)},{i}"), "DerivedField")
        derived.attrib.update(optype="categorical", dataType="string")
        _sub(derived, "NormDiscrete", field=target, value=each)
    return element


def _connect(neuron: ET.Element, depth: int, row: NDArray[np.float32]) -> None:
    for i, weight in enumerate(row):
        ET.SubElement(neuron, "Con", {"from": f"{depth},{i}", "weight": _number(weight)})


def _model(kind: str, name: str | None, function: str, fields: Sequence[str], target: str | None) -> ET.Element:
    element = ET.Element(kind)
    if name is not None:
        element.set("modelName", name)
    element.set("functionName", function)
    schema = _sub(element, "MiningSchema")
    for field in fields:
        _sub(schema, "MiningField", name=field)
    if target is not None:
        _sub(schema, "MiningField", name=target, usageType="target")
    return element


def _probabilities(target: str, classes: Sequence[str]) -> ET.Element:
    output = ET.Element("Output")
    for each in classes:
        field = _sub(output, "OutputField", name=f"{target}_{each}", optype="continuous", dataType="double")
        field.attrib.update(feature="probability", value=each)
    return output


def _sub(parent: ET.Element, tag: str, **attributes: object) -> ET.Element:
    return ET.SubElement(parent, tag, {key: str(value) for key, value in attributes.items()})


def _number(value: float) -> str:
    """The shortest text that reads back as the same float64."""
    return repr(float(value))
