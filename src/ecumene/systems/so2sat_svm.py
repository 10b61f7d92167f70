"""Support vector machine on statistics of the bands, a baseline of So2Sat LCZ42."""

from ecumene.systems._so2sat import statistics_learner

SYSTEM = statistics_learner(
    "so2sat-svm",
    "support vector machine on statistics of the bands of a patch, baseline of So2Sat LCZ42",
    "svm",
    {"limit": 10_000},
    "the grid of the 5-fold search is ours; at most 10,000 patches are learned from, and at most 2,000 searched, drawn "
    "evenly from the classes",
)
