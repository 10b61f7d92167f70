"""What the systems with a map of attention for each class share."""

from ecumene.systems.contract import BenchProtocol, PublishedFigure, System

_METRICS = (
    "example_f1",
    "example_f2",
    "example_precision",
    "example_recall",
    "label_precision",
    "label_recall",
    "label_f1",
    "label_f2",
)
_TITLES = {"vgg16": "VGG-16", "googlenet": "GoogLeNet", "resnet50": "ResNet-50"}
_READING = {
    "bilstm": "class attention and a bidirectional LSTM",
    "lstm": "class attention and an LSTM",
    "none": "class attention without a recurrence",
}


def figures(merced: float, dfc15: float) -> tuple[PublishedFigure, ...]:
    """Return the published mean F2 of both data sets; it averages the F2 of each image."""
    return (
        PublishedFigure(
            data_set="UC Merced multi-label",
            metric="example_f2",
            value=merced,
            protocol="about 80 % for training, of which 10 % stop it",
            verified=True,
            bench="random-80",
        ),
        PublishedFigure(
            data_set="DFC15 multi-label",
            metric="example_f2",
            value=dfc15,
            protocol="about 80 % for training, of which 10 % stop it",
            verified=True,
            bench="",
        ),
    )


def class_attention(
    name: str, trunk: str, recurrence: str | None, published: tuple[PublishedFigure, ...] = ()
) -> System:
    """Return the system of one trunk; `recurrence` None is the trunk alone."""
    reading = "no class attention" if recurrence is None else _READING[recurrence]
    own = {"trunk": trunk, "input_size": 224, "encoder_weights": "if-present"}
    return System(
        name=name,
        title=f"several objects in aerial images, {_TITLES[trunk]}, {reading}",
        task="multi-label",
        reads="scene",
        kind="network",
        network="scene-cnn" if recurrence is None else "class-attention-rnn",
        network_arguments=own if recurrence is None else {**own, "recurrence": recurrence, "hidden": 256},
        objective="multi-label",
        training={
            "epochs": 100,
            "batch_size": 32,
            "optimiser": "nadam",
            "learning_rate": 1e-4,
            "weight_decay": 0.0,
            "warmup": 0.0,
            "schedule": "plateau",
            "step_epochs": 5,
            "step_factor": 0.1,
            "stop_monitor": "validation_loss",
            "patience": 20,
        },
        patch_size=256,
        data_sets=("ucm-multilabel",),
        protocols=(BenchProtocol(name="random-80", split="random", train_share=0.8, metrics=_METRICS),),
        paper=(
            "Hua, Mou, Zhu: Recurrently exploring class-wise attention in a hybrid convolutional and bidirectional "
            "LSTM network for multi-label aerial image classification, ISPRS JPRS 149, 188-199, 2019, "
            "doi 10.1016/j.isprsjprs.2019.01.015"
        ),
        figures=published,
        deviations=(
            "ImageNet weights only where they are on the machine (the card says what the network began with); how long "
            "the validation loss may stall before the rate falls (5 epochs) and the training ends (20), and the hidden "
            "size 256, are choices of this library; flips, turns and small changes of radiometry augment the images; "
            "gradients are clipped to the norm 1; the epoch of the best macro F1 is kept; 10 % of the training images "
            "calibrate"
        ),
    )
