"""Class attention and a bidirectional LSTM behind GoogLeNet."""

from ecumene.systems._class_attention import class_attention, figures

SYSTEM = class_attention("ca-googlenet-bilstm", "googlenet", "bilstm", figures(0.8528, 0.7656))
