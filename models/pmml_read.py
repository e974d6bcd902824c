"""Reads PMML into the plain models of `models.classical`, from files that nobody vouches for.

What is read: linear and generalised linear models (identity and logarithm), decision trees, sums, means and votes of
trees, a sum of trees under a logistic function, and perceptrons; PMML 4.0 to 4.4.  Anything else in a file
(transformations, rescaled targets, other models) is refused by name rather than passed over.  A file may have no
document type and no entities, is bounded in size and depth, and nothing in it is looked up elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from models.classical import Between, Classical, Linear, Mlp, Trees
from models.definition import ModelError
from models.pmml_trees import finite, leaf_of, read_trees

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

MAX_BYTES = 64 << 20
MAX_DEPTH = 400
_ACTIVATIONS: dict[str, Between] = {"rectifier": "relu", "logistic": "sigmoid", "tanh": "tanh"}
_MODELS = ("RegressionModel", "GeneralRegressionModel", "TreeModel", "MiningModel", "NeuralNetwork")
_REFUSED = ("LocalTransformations", "Targets")


@dataclass(frozen=True, slots=True)
class PmmlModel:
    """A model read from PMML.

    Attributes:
        name: As the file says, or empty.
        fields: The names of a point's values, in the order of the data dictionary.
        target: The name of what is predicted.
        classes: Of a classifier, one name an output; empty: a regression.
        model: What answers.
    """

    name: str
    fields: tuple[str, ...]
    target: str
    classes: tuple[str, ...]
    model: Classical

    @property
    def values(self) -> int:
        """Values in one point."""
        return len(self.fields)

    @property
    def outputs(self) -> int:
        """Values in one answer; of a logistic model of two classes the second's probability only."""
        return self.model.outputs

    def score(self, x: Floats) -> Floats:
        """Answers float32 (points, outputs) to float32 (points, values)."""
        return self.model.score(x.reshape(len(x), -1))


def read_pmml(data: bytes, max_bytes: int = MAX_BYTES) -> PmmlModel:
    """Reads a PMML file.

    Args:
        data: Its content.
        max_bytes: How long it may be.

    Raises:
        ModelError: Too long, not XML, a document type or an entity in it, not PMML, or more than is read here.
    """
    if len(data) > max_bytes:
        raise ModelError(f"PMML of {len(data)} bytes; allowed are {max_bytes}")
    root = parse_xml(data)
    try:
        return _read(root)
    except ModelError:
        raise
    except KeyError as error:
        raise ModelError(f"PMML: {error.args[0]!r} is missing or is not a field of the data dictionary") from error
    except RecursionError:
        raise ModelError("PMML: trees nested too deep to be read here") from None
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        raise ModelError(f"PMML: {error}") from error


def parse_xml(data: bytes) -> ET.Element:
    """Parses XML that declares nothing; names lose their namespace.

    Raises:
        ModelError: Not well formed, too deep, or it has a document type or an entity.
    """
    from xml.parsers import expat

    builder = ET.TreeBuilder()
    parser = expat.ParserCreate(namespace_separator=" ")
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise ModelError(f"XML nested deeper than {MAX_DEPTH}")
        builder.start(tag.rpartition(" ")[2], attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag.rpartition(" ")[2])

    def refuse(*_: Any) -> int:
        raise ModelError("XML with a document type or entities is not taken")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # the latter two: an encoding it does not know
        raise ModelError(f"not well-formed XML: {error}") from error
    return builder.close()


def _read(root: ET.Element) -> PmmlModel:
    if root.tag != "PMML":
        raise ModelError(f"PMML: the outermost element is {root.tag!r}, expected PMML")
    if (transformed := root.find("TransformationDictionary")) is not None and len(transformed):
        raise ModelError("PMML: a TransformationDictionary is not read here")
    models = [element for element in root if element.tag.endswith(("Model", "Network"))]
    if len(models) != 1 or models[0].tag not in _MODELS:
        found = ", ".join(element.tag for element in models) or "none"
        raise ModelError(f"PMML: models found: {found}; expected one of {', '.join(_MODELS)}")
    element = models[0]
    dictionary = root.findall("DataDictionary/DataField")
    active, target = _schema(element)
    fields = tuple(each.attrib["name"] for each in dictionary if each.attrib["name"] in active)
    for each in dictionary:
        name, kind = each.attrib["name"], each.get("optype")
        if name in active and kind != "continuous":
            raise ModelError(f"PMML: field {name!r} is {kind}; only continuous ones are read here")
    if missing := active - set(fields):
        raise ModelError(f"PMML: fields {sorted(missing)} are not in the data dictionary")
    classes: tuple[str, ...] = ()
    if element.get("functionName") == "classification":
        values = [v.attrib["value"] for d in dictionary if d.get("name") == target for v in d.findall("Value")]
        classes = tuple(values)
        if len(classes) < 2:
            raise ModelError(f"PMML: the target {target!r} has {len(classes)} classes, expected two or more")
    elif element.get("functionName") != "regression":
        raise ModelError(f"PMML: functionName {element.get('functionName')!r}; regression and classification are read")
    columns = {field: i for i, field in enumerate(fields)}
    return PmmlModel(element.get("modelName", ""), fields, target, classes, _model(element, columns, classes))


def _schema(element: ET.Element) -> tuple[set[str], str]:
    """Names of the active fields and of the target."""
    active: set[str] = set()
    target = ""
    for field in element.findall("MiningSchema/MiningField"):
        usage = field.get("usageType", "active")
        if usage == "active":
            active.add(field.attrib["name"])
            if field.get("outliers", "asIs") != "asIs":
                raise ModelError(f"PMML: outliers of {field.attrib['name']!r} are to be changed: not read here")
        elif usage in ("target", "predicted"):
            target = field.attrib["name"]
    return active, target


def _model(element: ET.Element, columns: dict[str, int], classes: tuple[str, ...]) -> Classical:
    for tag in _REFUSED:
        if (found := element.find(tag)) is not None and len(found):
            raise ModelError(f"PMML: {tag} is not read here")
    if element.tag == "RegressionModel":
        return _regression(element, columns, classes)
    if element.tag == "GeneralRegressionModel":
        return _general(element, columns)
    if element.tag == "NeuralNetwork":
        return _network(element, columns, classes)
    if element.tag == "TreeModel":
        return read_trees([element], columns, leaf_of(classes, "average", 1))
    return _mining(element, columns, classes)


def _regression(element: ET.Element, columns: dict[str, int], classes: tuple[str, ...]) -> Linear:
    import numpy as np

    table = element.find("RegressionTable")
    if classes or table is None or len(element.findall("RegressionTable")) != 1:
        raise ModelError("PMML: a RegressionModel is read here only as a regression of one table")
    if (word := element.get("normalizationMethod", "none")) not in ("none", "exp"):
        raise ModelError(f"PMML: normalizationMethod {word!r}; none and exp are read here")
    row = np.zeros(len(columns))
    for term in table:
        if term.tag == "Extension":
            continue
        if term.tag != "NumericPredictor" or term.get("exponent", "1") not in ("1", "1.0"):
            raise ModelError(f"PMML: {term.tag} of a RegressionTable: only plain numeric predictors are read here")
        row[columns[term.attrib["name"]]] += _float(term, "coefficient")
    return _linear(row, _float(table, "intercept"), exp=word == "exp")


def _general(element: ET.Element, columns: dict[str, int]) -> Linear:
    import numpy as np

    link = element.get("linkFunction", "identity")
    if element.get("modelType") not in ("generalizedLinear", "generalLinear", "regression") or link not in (
        "identity",
        "log",
    ):
        raise ModelError(f"PMML: a {element.get('modelType')} of link {link!r} is not read here")
    if element.get("functionName") != "regression" or element.findall("FactorList/Predictor"):
        raise ModelError("PMML: a GeneralRegressionModel is read here only as a regression without factors")
    cells = {}
    for cell in element.findall("PPMatrix/PPCell"):
        if cell.get("value") not in ("1", "1.0") or cell.attrib["parameterName"] in cells:
            raise ModelError("PMML: a GeneralRegressionModel's terms are read here only as single fields")
        cells[cell.attrib["parameterName"]] = columns[cell.attrib["predictorName"]]
    row, intercept = np.zeros(len(columns)), 0.0
    for cell in element.findall("ParamMatrix/PCell"):
        parameter, beta = cell.attrib["parameterName"], _float(cell, "beta")
        if parameter in cells:
            row[cells[parameter]] += beta
        else:
            intercept += beta
    linear = _linear(row, intercept, exp=link == "log")
    return linear if link == "log" else Linear(linear.matrix, linear.bias, "normal")


def _linear(row: NDArray[np.float64], intercept: float, *, exp: bool) -> Linear:
    import numpy as np

    return Linear(row[None].astype(np.float32), np.array([intercept], np.float32), "gamma" if exp else "none")


def _mining(element: ET.Element, columns: dict[str, int], classes: tuple[str, ...]) -> Trees:
    segmentation = element.find("Segmentation")
    if segmentation is None:
        raise ModelError("PMML: a MiningModel without a Segmentation")
    method = segmentation.get("multipleModelMethod")
    inner = []
    for segment in segmentation.findall("Segment"):
        models = [each for each in segment if each.tag.endswith(("Model", "Network"))]
        if segment.find("True") is None or len(models) != 1:
            raise ModelError("PMML: a Segment is read here only with the predicate True and one model")
        inner.append(models[0])
    if method == "modelChain":
        return _chain(inner, columns, classes)
    if any(each.tag != "TreeModel" for each in inner) or not inner:
        raise ModelError("PMML: a MiningModel is read here only of trees")
    if method not in (("average", "majorityVote") if classes else ("average", "sum")):
        raise ModelError(f"PMML: multipleModelMethod {method!r} of a {element.get('functionName')} is not read here")
    return read_trees(inner, columns, leaf_of(classes, method, 1 if method == "sum" else len(inner)))


def _chain(inner: list[ET.Element], columns: dict[str, int], classes: tuple[str, ...]) -> Trees:
    """A sum of trees, then its logistic function as the probability of the second class."""
    if len(inner) == 2 and inner[0].tag == "MiningModel" and inner[1].tag == "RegressionModel" and len(classes) == 2:
        first, second = inner
        raw = first.find("Output/OutputField")
        tables = {table.get("targetCategory"): table for table in second.findall("RegressionTable")}
        terms = [
            (_float(table, "intercept"), [(p.get("name"), _float(p, "coefficient")) for p in table])
            for table in (tables.get(classes[1]), tables.get(classes[0]))
            if table is not None
        ]
        logistic = raw is not None and terms == [(0.0, [(raw.get("name"), 1.0)]), (0.0, [])]
        if logistic and second.get("normalizationMethod") == "logit":
            total = _mining(first, columns, ())
            return Trees(**{name: getattr(total, name) for name in Trees.__slots__ if name != "last"}, last="sigmoid")
    raise ModelError("PMML: a modelChain is read here only as a sum of trees under a logistic function of two classes")


def _network(element: ET.Element, columns: dict[str, int], classes: tuple[str, ...]) -> Mlp:
    import numpy as np

    mean, scale = np.zeros(len(columns)), np.ones(len(columns))
    before: dict[str, int] = {}
    for each in element.findall("NeuralInputs/NeuralInput"):
        column, mean_, scale_ = _entered(each, columns)
        mean[column], scale[column] = mean_, scale_
        before[each.attrib["id"]] = column
    if len(set(before.values())) != len(columns):
        raise ModelError("PMML: a NeuralNetwork is read here only with one NeuralInput a field")
    layers = []
    activations = []
    elements = element.findall("NeuralLayer")
    for depth, layer in enumerate(elements):
        neurons = layer.findall("Neuron")
        matrix, bias = np.zeros((len(neurons), len(before))), np.zeros(len(neurons))
        for i, neuron in enumerate(neurons):
            bias[i] = _float(neuron, "bias", "0")
            for con in neuron.findall("Con"):
                matrix[i, before[con.attrib["from"]]] = _float(con, "weight")
        before = {neuron.attrib["id"]: i for i, neuron in enumerate(neurons)}
        layers.append((matrix.astype(np.float32), bias.astype(np.float32)))
        if depth < len(elements) - 1:
            activations.append(layer.get("activationFunction") or element.attrib["activationFunction"])
    last = elements[-1]
    softmax = last.get("normalizationMethod", element.get("normalizationMethod")) == "softmax"
    if not classes or not softmax or last.get("activationFunction") != "identity" or len(set(activations)) != 1:
        raise ModelError("PMML: a NeuralNetwork is read here only with one activation, and the softmax of classes last")
    if activations[0] not in _ACTIVATIONS:
        raise ModelError(f"PMML: activation {activations[0]!r}; read here are {', '.join(_ACTIVATIONS)}")
    place = {}
    for each in element.findall("NeuralOutputs/NeuralOutput"):
        norm = each.find("DerivedField/NormDiscrete")
        if norm is not None:
            place[norm.attrib["value"]] = before[each.attrib["outputNeuron"]]
    order = [place[name] for name in classes]
    layers[-1] = (layers[-1][0][order], layers[-1][1][order])
    plain = bool((mean == 0).all() and (scale == 1).all())
    return Mlp(
        tuple(layers),
        None if plain else mean.astype(np.float32),
        None if plain else scale.astype(np.float32),
        "softmax",
        _ACTIVATIONS[activations[0]],
    )


def _entered(neural: ET.Element, columns: dict[str, int]) -> tuple[int, float, float]:
    """Column of a NeuralInput, and the mean and scale it is standardised with."""
    plain, line = neural.find("DerivedField/FieldRef"), neural.find("DerivedField/NormContinuous")
    if plain is not None:
        return columns[plain.attrib["field"]], 0.0, 1.0
    points = [] if line is None else [(_float(p, "orig"), _float(p, "norm")) for p in line.findall("LinearNorm")]
    if line is None or len(points) != 2 or line.get("outliers", "asIs") != "asIs":
        raise ModelError("PMML: a NeuralInput is read here only as a field or a straight line of one")
    (orig_0, norm_0), (orig_1, norm_1) = points
    if orig_0 == orig_1 or norm_0 == norm_1:
        raise ModelError("PMML: a NormContinuous of two equal points")
    scale = (orig_1 - orig_0) / (norm_1 - norm_0)
    return columns[line.attrib["field"]], orig_0 - norm_0 * scale, scale


def _float(element: ET.Element, name: str, default: str | None = None) -> float:
    text = element.get(name, default)
    if text is None:
        raise ModelError(f"PMML: {element.tag} has no {name}")
    return finite(text)
