"""ReCNN with LSTM: change, or kinds of change, between two dates from few labelled pixels."""

from ecumene.systems._change import recurrent

SYSTEM = recurrent(
    "recnn-lstm",
    "lstm",
    "change between two dates from small patches: convolutions, then LSTM over the dates",
)
