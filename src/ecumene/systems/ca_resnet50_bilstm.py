"""Class attention and a bidirectional LSTM behind ResNet-50."""

from ecumene.systems._class_attention import class_attention

SYSTEM = class_attention("ca-resnet50-bilstm", "resnet50", "bilstm")
