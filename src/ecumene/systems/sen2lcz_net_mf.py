"""Sen2LCZ-Net-MF: local climate zones with classifiers on four levels."""

from ecumene.systems._so2sat import figure, sen2lcz

SYSTEM = sen2lcz(
    "sen2lcz-net-mf",
    "Sen2LCZ-Net-MF, local climate zones from the mean of classifiers on four levels",
    fusion=True,
    figures=(figure(0.70, "trained on 42 cities, tested on the eastern halves of ten others", "culture-10"),),
)
