"""UnCRtainTS whose maps do not depend on windows."""

from ecumene.systems._uncrtaints import DEVIATIONS, uncrtaints

SYSTEM = uncrtaints(
    "uncrtaints-local",
    "cloud removal from three dates with radar and error bars, alike for whole scenes and windows",
    arguments={"context": "local", "days": "since-first"},
    deviations=(
        "normalisation, squeeze-and-excitation and the attention's grid look at a pixel's surroundings instead of the "
        "whole window; days are counted from the first date; " + DEVIATIONS
    ),
)
