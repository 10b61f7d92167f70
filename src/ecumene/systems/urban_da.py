"""Settlement extraction from radar and optical images that adapts to places without labels."""

from ecumene.systems.contract import PublishedFigure, System

_PROTOCOL = "SEN12_GUM, tested on SpaceNet 7 sites; quoted from memory"

SYSTEM = System(
    name="urban-da",
    title="built-up ground from Sentinel-1 and Sentinel-2, with unlabelled places of other regions",
    task="segmentation",
    reads="image",
    kind="network",
    network="multimodal-unet",
    network_arguments={"streams": "by sensor"},
    objective="jaccard-segmentation",
    training={
        "epochs": 15,
        "batch_size": 8,
        "learning_rate": 1e-4,
        "weight_decay": 1e-2,
        "schedule": "constant",
        "warmup": 0.0,
        "patience": 15,
        "gradient_clip": 1e6,
    },
    patch_size=256,
    data_sets=("growth-sites",),
    data_options={
        "dates": 1,
        "samples": 2,
        "unlabelled": True,
        "bands": ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"],
    },
    paper=(
        "Hafner, Ban, Nascetti: Unsupervised domain adaptation for global urban extraction using Sentinel-1 SAR and "
        "Sentinel-2 MSI data, RSE 280, 113192, 2022, doi 10.1016/j.rse.2022.113192"
    ),
    figures=tuple(
        PublishedFigure(data_set="SEN12_GUM", metric=metric, value=value, protocol=_PROTOCOL, verified=False)
        for metric, value in (
            ("F1, fusion with unlabelled places", 0.694),
            ("F1, fusion", 0.651),
            ("F1, optical", 0.580),
            ("F1, radar", 0.574),
        )
    ),
    deviations=(
        "bands are standardised, not clipped to 0..1; the power of a band is drawn for reflectance only; crops are "
        "drawn as those of the change systems, where built-up ground is; on simulated sites, with one seed, unlabelled "
        "places of another style made the map there worse (benchmarks/results/change_semi.json)"
    ),
)
