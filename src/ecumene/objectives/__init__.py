"""What is learned: for each kind of output its likelihood, loss, metrics and prediction. Free of torch at import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ecumene.core.errors import ConfigurationError
from ecumene.objectives.classification import SceneClassification, Segmentation
from ecumene.objectives.contract import Objective
from ecumene.objectives.jaccard import JaccardSegmentation
from ecumene.objectives.members import Members
from ecumene.objectives.multilabel import MultiLabel
from ecumene.objectives.multivariate import MultivariateRegression
from ecumene.objectives.numeric import NumericObjective
from ecumene.objectives.prediction import LayerSpec, Prediction
from ecumene.objectives.regression import PixelRegression
from ecumene.objectives.restoration import Restoration
from ecumene.objectives.settlement import SettlementZones

__all__ = [
    "JaccardSegmentation",
    "LayerSpec",
    "Members",
    "MultiLabel",
    "MultivariateRegression",
    "NumericObjective",
    "Objective",
    "PixelRegression",
    "Prediction",
    "Restoration",
    "SceneClassification",
    "Segmentation",
    "SettlementZones",
    "build_objective",
    "list_objectives",
]

_OBJECTIVES: dict[str, type[Objective]] = {
    built.name: built
    for built in (
        Segmentation,
        JaccardSegmentation,
        PixelRegression,
        MultivariateRegression,
        SceneClassification,
        MultiLabel,
        SettlementZones,
        Restoration,
        Members,
    )
}


def list_objectives() -> tuple[str, ...]:
    """Return the names that `build_objective` knows."""
    return tuple(_OBJECTIVES)


def build_objective(config: Mapping[str, Any]) -> Objective:
    """Build an objective from its configuration.

    Args:
        config: `name` and the arguments of the class, as `Objective.to_config` gives them; a legend may be a
            `Legend` or its JSON form.

    Returns:
        The objective.

    Raises:
        ConfigurationError: If the name or an argument is unknown, missing or out of range.
    """
    name = config.get("name")
    if name not in _OBJECTIVES:
        raise ConfigurationError(f"There is no objective {name!r}; there are: {', '.join(_OBJECTIVES)}.")
    try:
        return _OBJECTIVES[name].from_config(config)
    except TypeError as error:
        raise ConfigurationError(f"The objective {name!r} cannot be built from these arguments ({error}).") from error
    except ValidationError as error:
        first = error.errors()[0]["msg"]
        raise ConfigurationError(f"The legend of the objective {name!r} is not valid ({first}).") from error
