"""U-TAE in the place of UnCRtainTS, its U-shaped ablation."""

from ecumene.systems._restoration import figures
from ecumene.systems._uncrtaints import DEVIATIONS, uncrtaints

SYSTEM = uncrtaints(
    "utae-restoration",
    "cloud removal from three dates with radar and error bars, U-shaped with attention on the coarsest maps",
    network="utae-restoration",
    published=figures(
        "SEN12MS-CR-TS",
        "three dates, official split, quoted by a third party from the benchmark's site",
        {"rmse": 0.051, "psnr": 27.05, "ssim": 0.849, "sam": 11.649},
        verified=False,
        bench="official",
    ),
    deviations="the attention's values are left out; a variance of each band is learned too; " + DEVIATIONS,
)
