"""Random forest on statistics of the bands, a baseline of So2Sat LCZ42."""

from ecumene.systems._so2sat import statistics_learner

SYSTEM = statistics_learner(
    "so2sat-rf",
    "random forest on statistics of the bands of a patch, baseline of So2Sat LCZ42",
    "forest",
    {"n_trees": 300},
    "300 trees are a choice",
)
