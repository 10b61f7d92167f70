"""FC-Siam-diff: change between two dates, Siamese encoder, differences in the skip connections."""

from ecumene.systems._change import fully_convolutional

SYSTEM = fully_convolutional(
    "fc-siam-diff",
    "change between two dates: Siamese encoder, differences of features in the skip connections",
    "difference",
    {"F1": 0.579},
)
