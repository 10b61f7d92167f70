"""FC-EF: change between two dates, early fusion."""

from ecumene.systems._change import fully_convolutional

SYSTEM = fully_convolutional(
    "fc-ef",
    "change between two dates: fully convolutional network on the stacked dates",
    "early",
    {"precision": 0.644, "recall": 0.510, "F1": 0.569},
)
