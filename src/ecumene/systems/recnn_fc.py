"""ReCNN with fully connected recurrence: change, or kinds of change, between two dates from few labelled pixels."""

from ecumene.systems._change import recurrent

SYSTEM = recurrent(
    "recnn-fc",
    "fc",
    "change between two dates from small patches: convolutions, then fully connected recurrence over the dates",
)
