"""Sen2LCZ-Net: local climate zones from Sentinel-2 patches."""

from ecumene.systems._so2sat import sen2lcz

SYSTEM = sen2lcz(
    "sen2lcz-net", "Sen2LCZ-Net, small network for local climate zones from 320 m patches of Sentinel-2", fusion=False
)
