"""Ablation: class attention and an LSTM in one direction behind GoogLeNet."""

from ecumene.systems._class_attention import class_attention, figures

SYSTEM = class_attention("ca-googlenet-lstm", "googlenet", "lstm", figures(0.8423, 0.7505))
