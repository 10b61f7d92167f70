"""What the systems of scene classification with SEN12MS share."""

from typing import Any

from ecumene.systems.contract import BenchProtocol, System

_CLASS_METRICS = ("overall_accuracy", "average_accuracy", "macro_f1", "kappa")
_LABEL_METRICS = (
    *(f"{average}_{name}" for name in ("f1", "f2", "precision", "recall") for average in ("micro", "label", "example")),
    "hamming_loss",
    "subset_accuracy",
    "one_error",
    "coverage",
    "ranking_loss",
    "ranking_average_precision",
)


def sen12ms(name: str, title: str, arguments: dict[str, Any], *, several: bool) -> System:
    """Return the system that trains one network from scratch on SEN12MS, for one class or several labels."""
    metrics = _LABEL_METRICS if several else _CLASS_METRICS
    return System(
        name=name,
        title=title,
        task="multi-label" if several else "scene-classification",
        reads="scene",
        kind="network",
        network="scene-cnn",
        network_arguments={"input_size": 256, **arguments},
        objective="multi-label" if several else "scene-classification",
        training={
            "epochs": 100,
            "batch_size": 64,
            "optimiser": "adam",
            "schedule": "constant",
            "warmup": 0.0,
            "learning_rate": 1e-3,
            "weight_decay": 1e-5,
            "patience": 100,
            "augment": False,
            "monitor": "micro_f1" if several else "overall_accuracy",
        },
        patch_size=256,
        data_sets=("sen12ms",),
        data_options={"inputs": "s1+s2", "kind": "multi" if several else "single", "scheme": "simplified"},
        protocols=(
            *(
                BenchProtocol(
                    name=f"official-{inputs.replace('+', '-')}",
                    split="official",
                    official="official",
                    draws=1,
                    metrics=metrics,
                    data_options={"inputs": inputs},
                )
                for inputs in ("s1+s2", "s2", "rgb", "s1", "s1+rgb")
            ),
            BenchProtocol(name="held-out", split="official", official="held-out", metrics=metrics),
            BenchProtocol(name="spatial-80", split="spatial", train_share=0.8, metrics=metrics),
        ),
        paper=(
            "Schmitt, Wu: Remote Sensing Image Classification with the SEN12MS Dataset, ISPRS Annals V-2-2021, "
            "101-106, arXiv 2104.00704"
        ),
        deviations=(
            "biases do not decay; gradients are clipped to the norm 1; standardised by the training images instead of "
            "by fixed constants; no published figures are stated here"
        ),
    )
