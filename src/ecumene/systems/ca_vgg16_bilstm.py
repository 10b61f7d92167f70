"""Class attention and a bidirectional LSTM behind VGG-16."""

from ecumene.systems._class_attention import class_attention

SYSTEM = class_attention("ca-vgg16-bilstm", "vgg16", "bilstm")
