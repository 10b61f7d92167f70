"""The sequence-to-point network of SEN12MS-CR-TS."""

from ecumene.systems._restoration import figures, protocols
from ecumene.systems.contract import System

SYSTEM = System(
    name="cr-ts-net",
    title="cloud removal from three dates with radar, convolutions in three dimensions",
    task="restoration",
    reads="series",
    kind="network",
    network="cnn-3d",
    network_arguments={"scaling": "symmetric", "dates": 3},
    objective="restoration",
    objective_arguments={"loss": "l1"},
    training={
        "epochs": 200,
        "batch_size": 1,
        "optimiser": "adam",
        "schedule": "constant",
        "warmup": 0.0,
        "learning_rate": 2e-4,
        "weight_decay": 0.0,
        "patience": 200,
    },
    patch_size=256,
    data_sets=("sen12ms-cr-ts",),
    data_options={"dates": 3},
    protocols=protocols(("official", {}), ("official-no-sar", {"inputs": "s2"})),
    paper="Ebel, Xu, Schmitt, Zhu: SEN12MS-CR-TS, IEEE TGRS 60, 2022, arXiv 2201.09613",
    figures=figures(
        "SEN12MS-CR-TS",
        "three dates, official split, quoted by a third party from the benchmark's site",
        {"rmse": 0.051, "psnr": 26.68, "ssim": 0.836, "sam": 10.657},
        verified=False,
        bench="official",
    ),
    deviations=(
        "all layers learn from the beginning instead of after a single-date network was trained and fixed; beta1 0.9; "
        "a constant rate instead of a linear fall in the second half; zeros beyond the border; cloud shares by the "
        "rule of the cloud mask; a target's own date is never an input"
    ),
)
