"""Ablation: GoogLeNet without class attention."""

from ecumene.systems._class_attention import class_attention, figures

SYSTEM = class_attention("googlenet-multilabel", "googlenet", None, figures(0.8082, 0.7371))
