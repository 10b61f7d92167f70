"""UnCRtainTS on series, with a variance for each band."""

from ecumene.systems._restoration import figures
from ecumene.systems._uncrtaints import uncrtaints

_BENCH = "three dates, official split, quoted by a third party"

SYSTEM = uncrtaints(
    "uncrtaints",
    "cloud removal from three dates with radar and an error bar for each pixel and band",
    published=(
        *figures(
            "SEN12MS-CR-TS",
            f"{_BENCH}; with uncertainty",
            {"rmse": 0.051, "psnr": 27.84, "ssim": 0.866, "sam": 10.160},
            verified=False,
            bench="official",
        ),
        *figures(
            "SEN12MS-CR-TS",
            f"{_BENCH}; without uncertainty",
            {"rmse": 0.049, "psnr": 27.23, "ssim": 0.859, "sam": 10.168},
            verified=False,
        ),
    ),
)
