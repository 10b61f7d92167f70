"""Settlement extent and local climate zones by one network, the extent as a prior of the zones."""

from ecumene.systems.contract import System

SYSTEM = System(
    name="hse-lcz-mtl",
    title="settlement extent (a share) and local climate zones at once, the extent as a prior of the zones",
    task="segmentation",
    reads="image",
    kind="network",
    network="settlement-lcz",
    network_arguments={"width": 16, "dropout": 0.1, "attention": True, "prior": "multiply"},
    objective="settlement-zones",
    training={
        "epochs": 100,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "weight_decay": 0.0,
        "warmup": 0.0,
        "optimiser": "nadam",
        "schedule": "step",
        "step_epochs": 2,
        "step_factor": 0.75,
        "patience": 10,
    },
    patch_size=128,
    paper=(
        "Qiu, Liebel, Hughes, Schmitt, Koerner, Zhu: Multitask Learning for Human Settlement Extent Regression and "
        "Local Climate Zone Classification, IEEE GRSL, 2020, arXiv 2011.11452"
    ),
    deviations=(
        "bands are standardised; flips, turns and small changes of radiometry augment the windows; the prior is the "
        "predicted extent while training, too; one checkpoint, by the sum of both losses, instead of three; errors of "
        "the extent count on the grid of the image, not on one of half its resolution"
    ),
)
