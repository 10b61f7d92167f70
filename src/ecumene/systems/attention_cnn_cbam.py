"""Aerial scenes with block attention."""

from ecumene.systems._attention_cnn import attention_cnn

SYSTEM = attention_cnn("attention-cnn-cbam", "aerial scenes, ResNet-50 with attention to channels and places", "cbam")
