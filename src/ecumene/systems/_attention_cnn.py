"""What the systems of attention for aerial scenes share."""

from ecumene.systems.contract import BenchProtocol, System


def attention_cnn(name: str, title: str, gate: str) -> System:
    """Return the system of one gate."""
    return System(
        name=name,
        title=title,
        task="scene-classification",
        reads="scene",
        kind="network",
        network="attention-cnn",
        network_arguments={"trunk": "resnet50", "gate": gate, "input_size": 224, "encoder_weights": "if-present"},
        objective="scene-classification",
        training={"epochs": 80, "batch_size": 32, "learning_rate": 5e-4, "patience": 25, "ema_decay": 0.99},
        patch_size=256,
        data_sets=("image-folders", "rsscn7"),
        protocols=(
            BenchProtocol(name="random-50", split="random", train_share=0.5, draws=10),
            BenchProtocol(name="random-20", split="random", train_share=0.2, draws=10),
        ),
        paper=(
            "Deep CNNs with attention mechanism for aerial scene classification, known by its title from a "
            "presentation; no paper of that title is known"
        ),
        deviations="gates, trunk, sizes and training are choices of this library; there is no published figure",
    )
