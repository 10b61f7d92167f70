"""DSen2-CR with the plain absolute error, the paper's ablation of its loss."""

from ecumene.systems._restoration import figures, protocols
from ecumene.systems.contract import System
from ecumene.systems.dsen2_cr import DEVIATIONS, PAPER, TRAINING

_HELD_OUT = "hold-out scenes of the paper's file list"

SYSTEM = System(
    name="dsen2-cr-l1",
    title="cloud removal from one date with radar, residual network with absolute error",
    task="restoration",
    reads="image",
    kind="network",
    network="dsen2cr",
    network_arguments={"scaling": "resnet"},
    objective="restoration",
    objective_arguments={"loss": "l1"},
    training=TRAINING,
    patch_size=256,
    data_sets=("sen12ms-cr",),
    data_options={"crop": 128},
    protocols=protocols(("official", {}), ("official-no-sar", {"inputs": "s2"})),
    paper=PAPER,
    figures=(
        *figures(
            "SEN12MS-CR",
            f"{_HELD_OUT}; L1 on the target",
            {"mae": 0.0270, "rmse": 0.0343, "psnr": 29.3, "sam": 8.07, "ssim": 0.878},
            bench="official",
        ),
        *figures(
            "SEN12MS-CR",
            f"{_HELD_OUT}; L1 on the target, no SAR",
            {"mae": 0.0284, "rmse": 0.0361, "psnr": 28.8, "sam": 8.97, "ssim": 0.873},
            bench="official-no-sar",
        ),
    ),
    deviations=DEVIATIONS,
)
