"""Aerial scenes with attention to places."""

from ecumene.systems._attention_cnn import attention_cnn

SYSTEM = attention_cnn("attention-cnn", "aerial scenes, ResNet-50 with attention to places", "softmax")
