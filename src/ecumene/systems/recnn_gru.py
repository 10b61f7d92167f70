"""ReCNN with gated recurrent units: change, or kinds of change, between two dates from few labelled pixels."""

from ecumene.systems._change import recurrent

SYSTEM = recurrent(
    "recnn-gru",
    "gru",
    "change between two dates from small patches: convolutions, then gated recurrent units over the dates",
)
