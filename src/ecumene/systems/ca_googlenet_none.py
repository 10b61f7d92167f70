"""Ablation: class attention without a recurrence behind GoogLeNet."""

from ecumene.systems._class_attention import class_attention

SYSTEM = class_attention("ca-googlenet-none", "googlenet", "none")
