"""UnCRtainTS on one date."""

from ecumene.systems._restoration import figures
from ecumene.systems._uncrtaints import uncrtaints

SYSTEM = uncrtaints(
    "uncrtaints-mono",
    "cloud removal from one date with radar and an error bar for each pixel and band",
    network="uncrtaints-mono",
    published=figures(
        "SEN12MS-CR",
        "one date, official split; the same figures in two places",
        {"mae": 0.027, "psnr": 28.90, "ssim": 0.880, "sam": 8.320},
        verified=False,
        bench="official",
    ),
)
