"""The way of sample weights into a regressor: through pipelines, transformed targets and searches."""

from __future__ import annotations

from typing import Any

from sklearn import get_config
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from dir._checks import message


def routing_enabled() -> bool:
    """Return whether scikit-learn's metadata routing is on (``sklearn.set_config(enable_metadata_routing=True)``)."""
    return bool(get_config()["enable_metadata_routing"])


def weight_argument(estimator: Any) -> str:
    """Return the argument of ``estimator.fit`` that carries sample weights to the last estimator inside.

    Raises:
        ValueError: the last estimator takes no weights, or a pipeline changes the number of rows.

    Example:
        >>> from sklearn.linear_model import Ridge
        >>> from sklearn.preprocessing import StandardScaler
        >>> pipeline = Pipeline([("scale", StandardScaler()), ("ridge", Ridge())])
        >>> weight_argument(Ridge()), weight_argument(TransformedTargetRegressor(pipeline))
        ('sample_weight', 'ridge__sample_weight')
    """
    inner, step = _inside(estimator)
    if inner is not None:
        return step + weight_argument(inner)
    if not has_fit_parameter(estimator, "sample_weight"):
        problem = f"{type(estimator).__name__}.fit takes no sample_weight"
        advice = "Choose an estimator with sample weights, or wrap each estimator inside of it."
        raise ValueError(message("sample_weight", problem, advice=advice))
    return "sample_weight"


def fit_weighted(estimator: Any, X: Any, y: Any, weights: Any, fit_params: dict[str, Any]) -> Any:  # noqa: N803
    """Fit an estimator of which the caller owns the only copy, with weights for the last estimator inside.

    With metadata routing, the request for weights is set on the last estimator: the weights come from the caller and
    not from the user, who could have forgotten the request.
    """
    argument = weight_argument(estimator)
    if routing_enabled():
        argument = "sample_weight"
        if _inside(estimator)[0] is not None:  # an estimator that is called directly needs no request
            _request(estimator)
    return estimator.fit(X, y, **{argument: weights}, **fit_params)


def _inside(estimator: Any) -> tuple[Any, str]:
    """Return the estimator that a meta-estimator passes its weights to, or None, and the prefix of the argument."""
    if isinstance(estimator, Pipeline):
        for name, step in estimator.steps[:-1]:
            if hasattr(step, "fit_resample"):
                problem = f"the step {name!r} of the pipeline changes the rows, so that weights no longer fit to them"
                advice = "Wrap the last step of the pipeline instead of the whole pipeline."
                raise ValueError(message("sample_weight", problem, advice=advice))
        name, last = estimator.steps[-1]
        return last, f"{name}__"
    if isinstance(estimator, TransformedTargetRegressor):
        return estimator.regressor if estimator.regressor is not None else LinearRegression(), ""
    if isinstance(estimator, BaseSearchCV):
        return estimator.estimator, ""
    return None, ""


def _request(estimator: Any) -> None:
    """Set the request for weights on the last estimator inside."""
    if isinstance(estimator, TransformedTargetRegressor) and estimator.regressor is None:
        estimator.regressor = LinearRegression()
    inner, _ = _inside(estimator)
    if inner is not None:
        _request(inner)
    else:
        estimator.set_fit_request(sample_weight=True)
