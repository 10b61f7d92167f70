"""DSen2-CR with the plain absolute error, the paper's ablation of its loss."""

from ecumene.systems._dsen2_cr import HELD_OUT, dsen2_cr
from ecumene.systems._restoration import figures

SYSTEM = dsen2_cr(
    "dsen2-cr-l1",
    "cloud removal from one date with radar, residual network with absolute error",
    "l1",
    (
        *figures(
            "SEN12MS-CR",
            f"{HELD_OUT}; L1 on the target",
            {"mae": 0.0270, "rmse": 0.0343, "psnr": 29.3, "sam": 8.07, "ssim": 0.878},
            bench="file-list",
        ),
        *figures(
            "SEN12MS-CR",
            f"{HELD_OUT}; L1 on the target, no SAR",
            {"mae": 0.0284, "rmse": 0.0361, "psnr": 28.8, "sam": 8.97, "ssim": 0.873},
            bench="file-list-no-sar",
        ),
    ),
)
