"""DSen2-CR with its cloud-adaptive regularised loss."""

from ecumene.systems._dsen2_cr import HELD_OUT, dsen2_cr
from ecumene.systems._restoration import figures

SYSTEM = dsen2_cr(
    "dsen2-cr",
    "cloud removal from one date with radar, residual network with cloud-adaptive loss",
    "cloud-adaptive",
    (
        *figures(
            "SEN12MS-CR",
            f"{HELD_OUT}; CARL",
            {"mae": 0.0290, "rmse": 0.0366, "psnr": 28.7, "sam": 8.15, "ssim": 0.875},
            bench="file-list",
        ),
        *figures(
            "SEN12MS-CR",
            f"{HELD_OUT}; CARL, no SAR",
            {"mae": 0.0306, "rmse": 0.0387, "psnr": 27.6, "sam": 8.98, "ssim": 0.870},
            bench="file-list-no-sar",
        ),
        *figures(
            "SEN12MS-CR",
            f"{HELD_OUT}; CARL; clear pixels against the input, covered ones against the target",
            {"mae reproduced": 0.0204, "mae reconstructed": 0.0266, "sam reproduced": 3.94, "sam reconstructed": 8.04},
        ),
        *figures(
            "SEN12MS-CR-TS",
            "three dates, quoted by a third party from the benchmark's site",
            {"rmse": 0.060, "psnr": 26.04, "ssim": 0.810, "sam": 12.147},
            verified=False,
        ),
    ),
)
