"""Aerial scenes with attention to channels."""

from ecumene.systems._attention_cnn import attention_cnn

SYSTEM = attention_cnn("attention-cnn-channel", "aerial scenes, ResNet-50 with attention to channels", "channel")
