"""UnCRtainTS with a likelihood of each band by itself."""

from ecumene.systems._uncrtaints import uncrtaints

SYSTEM = uncrtaints(
    "uncrtaints-uni",
    "cloud removal from three dates with radar, each band's likelihood by itself",
    objective={"covariance": "univariate"},
)
