"""scikit-learn: its own estimators, given the weights of a file instead of being fitted, or read from a pickle.

The file is the plain archive of `models.classical_npz`; nothing in it runs.  What an estimator learns in `fit` is set
as its `fit` sets it, so `predict` is scikit-learn's own code at scikit-learn's own cost.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.classical import Classical, KernelPcaSvm, KernelSvm, Linear, Mlp, Trees
from models.definition import ModelDef, ModelError, need
from models.runtimes import Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_WHAT = "runtime sklearn"
_ACTIVATION = {"relu": "relu", "sigmoid": "logistic", "tanh": "tanh"}


class SklearnScorer:
    """An estimator, one thread."""

    def __init__(self, definition: ModelDef, path: Path) -> None:
        """Loads the file.

        Raises:
            ModelError: scikit-learn is not installed, or the file is not an archive of weights it has a class for.
        """
        from models.classical_npz import read_npz

        need("sklearn", "classical", _WHAT)
        model = read_npz(path)
        if (model.values, model.outputs) != (definition.values, definition.outputs):
            raise ModelError(
                f"model {definition.name!r}: {path} takes {model.values} values and answers {model.outputs}, "
                f"expected {definition.values} and {definition.outputs}"
            )
        self._predict = estimator(model)
        _one_thread()

    def score(self, x: Floats) -> Floats:
        """See `Scorer.score`."""
        import numpy as np

        answer = self._predict(x.reshape(len(x), -1))
        return np.asarray(answer, np.float32).reshape(len(x), -1)


def estimator(model: Classical) -> Callable[[Floats], Any]:
    """What answers for a model: (points, values) -> (points,) or (points, outputs).

    Raises:
        ModelError: scikit-learn has no class for it.
    """
    if isinstance(model, Linear):
        return _linear(model)
    if isinstance(model, Trees):
        return _trees(model)
    if isinstance(model, Mlp):
        return _mlp(model)
    if isinstance(model, KernelSvm):
        return _svm(model)
    if isinstance(model, KernelPcaSvm):
        return _kernel_pca(model)
    raise ModelError(f"{_WHAT}: no estimator for {type(model).__name__}")


def _one_thread() -> None:
    """Holds the thread pools of the libraries loaded so far at one thread, from here on.

    Not around every call: that takes as long as a small model's answer.
    """
    from threadpoolctl import ThreadpoolController

    ThreadpoolController().limit(limits=1)


def _linear(model: Linear) -> Callable[[Floats], Any]:
    import numpy as np
    from sklearn.linear_model import ElasticNet, GammaRegressor, LinearRegression, TweedieRegressor

    sparse = float((model.matrix == 0).mean()) > 0.1
    made: Any
    if model.family == "gamma":
        made = GammaRegressor()
    elif model.family == "normal":
        made = TweedieRegressor(power=0)
    else:
        made = ElasticNet() if sparse else LinearRegression()
    made.coef_ = model.matrix[0].astype(np.float64) if model.outputs == 1 else model.matrix.astype(np.float64)
    made.intercept_ = float(model.bias[0]) if model.outputs == 1 else model.bias.astype(np.float64)
    made.n_features_in_ = model.values
    if model.family != "none":
        made._base_loss = made._get_loss()
    predict: Callable[[Floats], Any] = made.predict
    return predict


def _trees(model: Trees) -> Callable[[Floats], Any]:
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if model.last != "identity":
        raise ModelError(f"{_WHAT}: no estimator for a sum of trees under a {model.last}; use runtime lightgbm")
    spans = model.trees()
    several = model.outputs > 1
    made = []
    for span in spans:
        each: Any = DecisionTreeClassifier() if several else DecisionTreeRegressor()
        each.tree_ = _tree(model, span, len(spans))
        each.n_features_in_, each.n_outputs_ = model.values, 1
        if several:
            each.classes_, each.n_classes_ = np.arange(model.outputs), model.outputs
        made.append(each)
    if len(made) == 1:
        alone: Callable[[Floats], Any] = made[0].predict_proba if several else made[0].predict
        return alone
    forest: Any = RandomForestClassifier() if several else RandomForestRegressor()
    forest.set_params(n_estimators=len(made), n_jobs=1)
    forest.estimators_ = made
    forest.n_features_in_, forest.n_outputs_ = model.values, 1
    if several:
        forest.classes_, forest.n_classes_ = np.arange(model.outputs), model.outputs
    together: Callable[[Floats], Any] = forest.predict_proba if several else forest.predict
    return together


def _tree(model: Trees, span: range, times: int) -> Any:
    """scikit-learn's own tree of one of ours; a leaf's answer is multiplied by `times`: a forest averages."""
    import numpy as np
    from sklearn.tree import _tree as sk

    rows = np.arange(span.start, span.stop)
    inner = model.feature[rows] >= 0
    nodes = np.zeros(len(rows), sk.NODE_DTYPE)
    nodes["left_child"] = np.where(inner, model.left[rows] - span.start, -1)
    nodes["right_child"] = np.where(inner, model.right[rows] - span.start, -1)
    nodes["feature"] = np.where(inner, model.feature[rows], -2)
    nodes["threshold"] = np.where(inner, model.threshold[rows], -2.0)
    nodes["n_node_samples"] = 1
    nodes["weighted_n_node_samples"] = 1.0
    values = model.leaf[rows].astype(np.float64)[:, None, :] * times
    several = model.outputs > 1
    tree = sk.Tree(model.values, np.array([model.outputs if several else 1], np.intp), 1)
    depth = np.zeros(len(rows), np.int64)
    for i in range(len(rows)):  # a child comes after its parent
        if inner[i]:
            depth[[nodes["left_child"][i], nodes["right_child"][i]]] = depth[i] + 1
    state = {"max_depth": int(depth.max()), "node_count": len(rows), "nodes": nodes, "values": values}
    tree.__setstate__(state)
    return tree


def _mlp(model: Mlp) -> Callable[[Floats], Any]:
    import numpy as np
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import LabelBinarizer, StandardScaler

    made: Any = MLPRegressor() if model.last == "identity" else MLPClassifier()
    made.set_params(activation=_ACTIVATION[model.between])
    made.coefs_ = [matrix.T.astype(np.float64) for matrix, _ in model.layers]
    made.intercepts_ = [bias.astype(np.float64) for _, bias in model.layers]
    made.n_layers_ = len(model.layers) + 1
    made.n_outputs_, made.n_features_in_ = model.outputs, model.values
    made.out_activation_ = {"sigmoid": "logistic"}.get(model.last, model.last)
    if model.last != "identity":
        made.classes_ = np.arange(model.outputs)
        made._label_binarizer = LabelBinarizer().fit(made.classes_)
    if model.mean is not None and model.scale is not None:
        scaler = StandardScaler()
        scaler.mean_, scaler.scale_ = model.mean.astype(np.float64), model.scale.astype(np.float64)
        scaler.var_, scaler.n_features_in_ = scaler.scale_**2, model.values
        scaler.n_samples_seen_ = 1
        made = make_pipeline(scaler, made)
    predict: Callable[[Floats], Any] = made.predict if model.last == "identity" else made.predict_proba
    return predict


def _svm(model: KernelSvm) -> Callable[[Floats], Any]:
    import numpy as np
    from sklearn.svm import SVC

    made = SVC(kernel="rbf", gamma=model.gamma)
    made._sparse, made._gamma = False, model.gamma
    made.classes_ = np.arange(2)
    made.class_weight_ = np.ones(2)
    made.shape_fit_ = (len(model.support), model.values)
    made.n_features_in_ = model.values
    # The library keeps the first class's vectors first and decides for it; `decision_function` turns the sign round.
    first = int((model.dual < 0).sum())
    made.support_ = np.arange(len(model.support), dtype=np.int32)
    made.support_vectors_ = np.ascontiguousarray(model.support, np.float64)
    made._n_support = np.array([first, len(model.support) - first], np.int32)
    made._dual_coef_ = -model.dual[None].astype(np.float64)
    made._intercept_ = np.array([-model.bias])
    made.dual_coef_, made.intercept_ = -made._dual_coef_, -made._intercept_
    made._probA = made._probB = np.empty(0)
    made.fit_status_ = 0
    decide: Callable[[Floats], Any] = made.decision_function
    return decide


def _kernel_pca(model: KernelPcaSvm) -> Callable[[Floats], Any]:
    import numpy as np
    from sklearn.decomposition import KernelPCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import KernelCenterer
    from sklearn.svm import LinearSVC

    components = model.projection.shape[1]
    made = KernelPCA(components, kernel="rbf", gamma=model.gamma, n_jobs=1)
    made.gamma_, made.X_fit_ = model.gamma, model.fitted.astype(np.float64)
    made.eigenvalues_, made.eigenvectors_ = np.ones(components), model.projection.astype(np.float64)
    made.n_features_in_ = model.values
    made._centerer = KernelCenterer()
    made._centerer.K_fit_rows_, made._centerer.K_fit_all_ = model.row_mean.astype(np.float64), model.mean
    made._centerer.n_features_in_ = len(model.fitted)
    machine = LinearSVC()
    machine.coef_, machine.intercept_ = model.matrix[None].astype(np.float64), np.array([model.bias])
    machine.classes_, machine.n_features_in_ = np.arange(2), components
    decide: Callable[[Floats], Any] = make_pipeline(made, machine).decision_function
    return decide


RUNTIME = Runtime("sklearn", ("npz",), SklearnScorer, ("sklearn",), "classical")
