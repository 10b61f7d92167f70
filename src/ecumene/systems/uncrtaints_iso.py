"""UnCRtainTS with one variance for all bands."""

from ecumene.systems._uncrtaints import uncrtaints

SYSTEM = uncrtaints(
    "uncrtaints-iso",
    "cloud removal from three dates with radar, one error bar for all bands of a pixel",
    objective={"covariance": "isotropic"},
)
