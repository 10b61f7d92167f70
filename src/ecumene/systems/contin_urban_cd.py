"""When places were built, from a series of images."""

from ecumene.systems.contract import System

SYSTEM = System(
    name="contin-urban-cd",
    title="date of building from a series, by features refined in time and a graph of dates",
    task="segmentation",
    reads="series",
    kind="network",
    network="refined-series",
    objective="jaccard-segmentation",
    training={
        "epochs": 100,
        "batch_size": 16,
        "learning_rate": 1e-4,
        "weight_decay": 1e-2,
        "schedule": "cosine",
        "warmup": 0.0,
        "patience": 10,
        "gradient_clip": 1e6,
    },
    patch_size=64,
    data_sets=("growth-sites",),
    data_options={"dates": 5, "samples": 2},
    paper=(
        "Hafner, Fang, Azizpour, Ban: Continuous Urban Change Detection from Satellite Image Time Series with Temporal "
        "Feature Refinement and Multi-Task Integration, arXiv 2406.17458"
    ),
    deviations=(
        "Sentinel-1 and Sentinel-2 stacked instead of PlanetScope; the posterior of when a place was built instead of "
        "its most probable states alone; half a cosine instead of a linear fall of the learning rate; powers of bands "
        "instead of colour jitter and blur; the published figures are not known here"
    ),
)
