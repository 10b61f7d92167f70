"""Executes support vector machines by pixel or image; neither torch nor the library that fitted them is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.models.contract import ModelSpec
from ecumene.models.row_execution import RowExecutor, row_arguments
from ecumene.models.svm import SupportVectorMachine
from ecumene.objectives import SceneClassification, Segmentation
from ecumene.objectives.contract import Objective
from ecumene.trust.scaling import Scaling


class SvmExecutor(RowExecutor):
    """See `models.contract.Executor`. Missing values count as the mean of the training pixels.

    Args:
        spec: The model.
        machine: Validated machine.
        objective: `Segmentation`, or `SceneClassification` of a model of whole images.
        scaling: Of the calibration, or None.
        detector: Outlier detector or None.
    """

    backend = "svm"

    def __init__(
        self,
        spec: ModelSpec,
        machine: SupportVectorMachine,
        *,
        objective: Objective,
        scaling: Scaling | None = None,
        detector: Any = None,
        precision: str = "auto",
    ) -> None:
        if precision not in ("auto", "fp32"):
            raise ConfigurationError(f"Support vectors compute in fp32, not in {precision!r}; leave out the precision.")
        n_features, n_dates = row_arguments(spec)
        if not isinstance(objective, Segmentation | SceneClassification):
            raise ModelError("Support vector machines map classes; the model's objective asks for something else.")
        if (machine.n_features, machine.n_classes) != (n_features, objective.n_outputs):
            raise ModelError(
                f"The support vectors read {machine.n_features} features for {machine.n_classes} classes, but the "
                f"model has {n_features} and {objective.n_outputs}; get the model again from its source."
            )
        super().__init__(spec, n_dates, scaling, detector)
        self._machine = machine

    def values(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the logits of rows; see `RowExecutor.values`."""
        return self._machine(np.where(np.isnan(rows), self._machine.mean, rows))
