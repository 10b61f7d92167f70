"""The model bundle: a folder that is safe to load from a stranger and that says what it is for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from ecumene.core.errors import ConfigurationError, EcumeneError, ModelError
from ecumene.models import folder as files
from ecumene.models.arrays import pack_arrays, unpack_arrays
from ecumene.models.checksum import content_checksum
from ecumene.models.contract import SCHEMA_VERSION, Executor, ModelSpec
from ecumene.models.mlm import SPEC_PROPERTY, build_item
from ecumene.objectives import build_objective
from ecumene.objectives.contract import Objective

if TYPE_CHECKING:
    from ecumene.models.row_execution import RowExecutor
    from ecumene.models.torch_execution import TorchExecutor
    from ecumene.models.trees import TreeEnsemble
    from ecumene.scenes.contract import Stack
    from ecumene.trust.scaling import Scaling

Backend = Literal["torch", "compiled", "onnx", "openvino"]
BACKENDS: tuple[str, ...] = get_args(Backend)
"""What can execute a network; see `models.selection` for who is chosen."""


_ARRAYS = {"network": files.NETWORK_WEIGHTS, "forest": files.FOREST, "svm": files.SVM}


def plain(value: Any) -> Any:
    """Return a value with NumPy numbers made plain and numbers that are not finite made None, for JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass
class Model:
    """A trained model with everything that its use needs.

    Attributes:
        spec: What it states.
        objective: What its raw output means; rebuilt from `spec` where it is not given.
        weights: Arrays of a network, a forest or a support vector machine, by name.
        booster: LightGBM text of a boosted model.
        calibration: `trust.calibration.Calibration` or None.
        detector: Outlier detector of `trust` or None.
        onnx: Bytes of the exported network or None.
        onnx_int8: Bytes of the exported network with quantised layers or None.
    """

    spec: ModelSpec
    objective: Objective = None  # type: ignore[assignment]  # filled below
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    booster: str | None = None
    calibration: Any = None
    detector: Any = None
    onnx: bytes | None = None
    onnx_int8: bytes | None = None

    def __post_init__(self) -> None:
        if self.objective is None:
            self.objective = build_objective(self.spec.objective)

    # -- making ------------------------------------------------------------------------------------

    def with_trust(self, *, calibration: Any = None, detector: Any = None) -> Model:
        """Return the model with this calibration and outlier detector (None removes them).

        A variance scale goes into the objective. Exported ONNX networks are dropped, because calibration and
        detector are part of them.
        """
        objective = self.objective if calibration is None else calibration.calibrated(self.objective)
        spec = self.spec.model_copy(
            update={
                "objective": plain(objective.to_config()),
                "calibration": plain(calibration.to_config()) if calibration is not None else {},
                "outlier": plain(detector.to_config()) if detector is not None else {},
            }
        )
        return replace(
            self, spec=spec, objective=objective, calibration=calibration, detector=detector, onnx=None, onnx_int8=None
        )

    def with_training(self, **entries: Any) -> Model:
        """Return the model with entries added to `spec.training`."""
        training = {**self.spec.training, **plain(entries)}
        return replace(self, spec=self.spec.model_copy(update={"training": training}))

    @classmethod
    def of(cls, model: str | Path | Model) -> Model:
        """Return the model itself, or load it from its folder; see `load`."""
        return model if isinstance(model, Model) else cls.load(Path(model))

    # -- running -----------------------------------------------------------------------------------

    def release(self) -> None:
        """Forget weights and exported graphs; executors keep what they have.

        For an owner who makes no further executor, and neither saves nor hashes the model: a map holds its memory for
        hours.
        """
        self.__dict__["_released"] = True
        self.weights, self.booster, self.onnx, self.onnx_int8 = {}, None, None, None
        for name in ("trees", "_raw"):
            self.__dict__.pop(name, None)

    @property
    def scaling(self) -> Scaling | None:
        """How the executed model calibrates its logits; None where it does not."""
        return None if self.calibration is None else self.calibration.scaling

    @property
    def outlier_threshold(self) -> float | None:
        """The score above which a pixel is flagged; None without a detector, or before its threshold was set."""
        return None if self.detector is None else self.detector.threshold

    @property
    def cells(self) -> None:
        """Nothing: the engine maps a bundle pixel by pixel (`mapping.scene_cells` lays cells)."""
        return None

    @property
    def checksum(self) -> str:
        """A SHA-256 over everything that decides the output: statement, weights, detector."""
        arrays = None if self.detector is None else self.detector.to_arrays()
        return content_checksum(self._stated(), self.weights, self.booster, arrays, str(self.outlier_threshold))

    def _stated(self) -> ModelSpec:
        """Return the statement as its file has it."""
        return ModelSpec.model_validate(plain(self.spec.model_dump(mode="json")))

    @property
    def card(self) -> str:
        """The model card as text."""
        from ecumene.models.card import write_card

        return write_card(self.spec, self.objective.legend)

    @cached_property
    def trees(self) -> TreeEnsemble:
        """The validated trees of a forest or a boosted model.

        Raises:
            ModelError: If they are damaged or do not fit the objective.
        """
        if self.spec.kind == "boosting":
            from ecumene.models.boosting import ensemble_from_text

            return ensemble_from_text(self.booster or "", self.objective.n_outputs)
        from ecumene.models.trees import TreeEnsemble

        trees = TreeEnsemble.from_arrays(dict(self.weights))
        if trees.n_columns != self.objective.n_outputs:
            raise ModelError(
                f"The forest has {trees.n_columns} outputs, but its objective needs {self.objective.n_outputs}; "
                "get the model again from its source."
            )
        return trees

    def executor(
        self, backend: str = "torch", precision: str = "auto", threads: int | None = None, device: str = "auto"
    ) -> Executor:
        """Return what runs the model.

        Args:
            backend: `torch`, `compiled` (torch's compiler), `onnx` or `openvino`. Forests and boosted trees have
                their own and take any.
            precision: `auto` and `fp32`: float32; `bf16` (not onnx); `int8` (onnx and openvino, from
                `model-int8.onnx`).
            threads: Threads of one run; None: all cores.
            device: `auto` takes a GPU if there is one (torch and compiled only).

        Raises:
            ModelError: If the weights do not fit the architecture, or there is no ONNX file.
            ConfigurationError: If an argument is unknown, or the machine cannot do it.
            MissingDependencyError: If the backend is not installed.
        """
        if self.__dict__.get("_released"):
            raise ModelError("The model has given its weights to an earlier map; load it again from its folder.")
        if backend not in BACKENDS:
            names = ", ".join(repr(name) for name in BACKENDS[:-1])
            raise ConfigurationError(f"The backend is {names} or {BACKENDS[-1]!r}, not {backend!r}.")
        if self.spec.kind != "network":
            return self._row_executor(precision, threads)
        if backend == "torch":
            return self._torch_executor(precision, threads, device)
        if backend == "compiled":
            from ecumene.models.compiled_execution import CompiledExecutor

            return CompiledExecutor(self._torch_executor(precision, threads, device))
        data = self._exported(precision)
        if backend == "openvino":
            from ecumene.models.openvino_execution import OpenVinoExecutor

            return OpenVinoExecutor(self.spec, data, precision=precision, threads=threads, detector=self.detector)
        from ecumene.models.onnx_execution import OnnxExecutor

        return OnnxExecutor(self.spec, data, precision=precision, threads=threads)

    def _exported(self, precision: str) -> bytes:
        """Return the graph that a precision is executed from."""
        data = self.onnx_int8 if precision == "int8" else self.onnx
        if data is None and precision == "int8":
            raise ModelError(
                f"The model has no {files.ONNX_INT8}; make it with "
                "`ecumene export MODEL --to onnx --precision int8 --calibration SCENE`, or use another precision."
            )
        if data is None:
            raise ModelError(
                f"The model has no {files.ONNX}; make it with `ecumene export MODEL --to onnx`, "
                "or use the torch backend."
            )
        return data

    def _torch_executor(
        self, precision: str = "auto", threads: int | None = None, device: str = "auto"
    ) -> TorchExecutor:
        from ecumene.core.optional import require

        require("torch")
        from ecumene.models.torch_execution import TorchExecutor

        return TorchExecutor(
            self.spec,
            self.weights,
            scaling=self.scaling,
            detector=self.detector,
            precision=precision,
            threads=threads,
            device=device,
        )

    def _row_executor(self, precision: str = "auto", threads: int | None = None) -> RowExecutor:
        if self.spec.kind == "svm":
            from ecumene.models.svm import SupportVectorMachine
            from ecumene.models.svm_execution import SvmExecutor

            return SvmExecutor(
                self.spec,
                SupportVectorMachine.from_arrays(dict(self.weights)),
                objective=self.objective,
                scaling=self.scaling,
                detector=self.detector,
                precision=precision,
            )
        from ecumene.models.tree_execution import TreeExecutor

        return TreeExecutor(
            self.spec,
            self.trees,
            objective=self.objective,
            scaling=self.scaling,
            detector=self.detector,
            precision=precision,
            threads=threads,
        )

    @cached_property
    def _raw(self) -> TorchExecutor | RowExecutor:
        return self._torch_executor() if self.spec.kind == "network" else self._row_executor()

    def raw_output(self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return the output before scaling, float32 `[B, n_outputs, H, W]`; arguments as `Executor.run`."""
        return self._raw.raw(image, dates)[0]

    def detector_features(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Return what the outlier detector is fitted on, float32 `[B, F, H, W]`.

        The first C channels are the standardised bands, averaged over valid dates and, for window
        networks, over 5 x 5 pixels; then come the network's features (none for trees).
        """
        return self._raw.raw(image, dates)[1]

    def raw_results(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return `raw_output` and `detector_features` of one run."""
        return self._raw.raw(image, dates)

    def match(self, stack: Stack) -> Stack:
        """Return the stack with this model's channels, in its order.

        Raises:
            ContractError: If bands, level, unit, ground sampling or number of dates do not fit.
        """
        from ecumene.models.matching import match_stack

        if self.spec.kind != "network":
            from ecumene.models.row_execution import row_arguments
            from ecumene.models.row_features import RowFeatures

            features = RowFeatures.of(self.spec)
            if not features.yearly_median:
                return match_stack(self.spec, stack, row_arguments(self.spec)[1])
            features.require_one_year(stack.times)
            return match_stack(self.spec, stack, least=1)
        from ecumene.networks import exact_dates
        from ecumene.scenes.complete import CompleteStack
        from ecumene.scenes.standardised import StandardisedStack

        n_dates = exact_dates(self.spec.architecture)
        matched = match_stack(self.spec, stack, n_dates)
        complete = matched if n_dates is None else CompleteStack(matched)
        return StandardisedStack(complete) if self.spec.standardised else complete

    # -- files -------------------------------------------------------------------------------------

    def to_files(self) -> dict[str, bytes]:
        """Return the bundle's files by name."""
        from ecumene.models.card import write_card

        spec = self._stated()
        legend = self.objective.legend
        parts: dict[str, bytes] = {files.CARD: write_card(spec, legend).encode()}
        if spec.kind == "boosting":
            parts[files.BOOSTER] = (self.booster or "").encode()
            parameters = self.trees.values.size + len(self.trees.threshold)
        else:
            name = _ARRAYS[spec.kind]
            parts[name] = pack_arrays(self.weights)
            parameters = sum(int(array.size) for array in self.weights.values())
        if self.detector is not None:
            parts[files.DETECTOR] = pack_arrays(self.detector.to_arrays())
        if self.onnx is not None:
            parts[files.ONNX] = self.onnx
        if self.onnx_int8 is not None:
            parts[files.ONNX_INT8] = self.onnx_int8
        item = build_item(spec, parts, n_outputs=self.objective.n_outputs, legend=legend, parameters=parameters)
        return {files.MODEL_JSON: files.json_bytes(item), **parts}

    def save(self, folder: Path | str) -> None:
        """Write the bundle whole or not at all; a model that is there is replaced.

        The written folder is loaded again and must give exactly the same results on a probe.

        Raises:
            ProductError: If it cannot be written.
            ModelError: If what was written does not load or differs.
        """
        from ecumene.models.probe import require_equal_results

        files.write_folder(folder, self.to_files(), lambda written: require_equal_results(self, Model.load(written)))

    @classmethod
    def load(cls, folder: Path | str) -> Model:
        """Load a bundle from a stranger: nothing in it can execute.

        Raises:
            ModelError: If it is damaged, hostile, incomplete or too new, in one sentence.
        """
        item, parts = files.read_folder(folder)
        spec = _read_spec(item)
        wanted = _ARRAYS.get(spec.kind, files.BOOSTER)
        if wanted not in parts:
            raise ModelError(f"The model lacks its file {wanted}; get the model again from its source.")
        try:
            objective = build_objective(spec.objective)
            calibration = _read_calibration(spec)
            detector = _read_detector(spec, parts.get(files.DETECTOR))
        except ModelError:
            raise
        except (EcumeneError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ModelError(
                f"The model's description does not fit this version of ecumene ({str(error)[:120]}); "
                "get the model again from its source."
            ) from error
        model = cls(
            spec=spec,
            objective=objective,
            weights={} if spec.kind == "boosting" else unpack_arrays(parts[wanted], wanted),
            booster=_text(parts[wanted]) if spec.kind == "boosting" else None,
            calibration=calibration,
            detector=detector,
            onnx=parts.get(files.ONNX),
            onnx_int8=parts.get(files.ONNX_INT8),
        )
        if spec.kind != "network":
            model._row_executor(threads=1)  # proves arrays and features
        for exported in (model.onnx, model.onnx_int8):
            if exported is not None:
                from ecumene.models.onnx_execution import check_onnx

                check_onnx(exported)
        return model


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelError("booster.txt is not text; get the model again from its source.") from error


def _read_spec(item: Mapping[str, Any]) -> ModelSpec:
    properties = item.get("properties")
    stated = properties.get(SPEC_PROPERTY) if isinstance(properties, dict) else None
    if not isinstance(stated, dict):
        raise ModelError("model.json is not a model of ecumene: it has no ecumene:model; give another folder.")
    version = stated.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise ModelError(
            f"The model has schema version {str(version)[:20]}, but this ecumene reads up to {SCHEMA_VERSION}; "
            "update ecumene."
        )
    try:
        return ModelSpec.model_validate(stated)
    except (ValidationError, RecursionError) as error:
        detail = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "nested too deeply"}
        where = ".".join(str(part) for part in detail["loc"])
        raise ModelError(f"model.json does not describe a model correctly ({where}: {detail['msg']}).") from error


def _read_calibration(spec: ModelSpec) -> Any:
    if not spec.calibration:
        return None
    from ecumene.trust.calibration import Calibration

    return Calibration.from_config(spec.calibration)


def _read_detector(spec: ModelSpec, data: bytes | None) -> Any:
    if not spec.outlier:
        return None
    if data is None:
        raise ModelError(f"The model lacks its file {files.DETECTOR}; get the model again from its source.")
    from ecumene.trust.outlier import build_detector

    return build_detector(spec.outlier, unpack_arrays(data, files.DETECTOR))
