"""The verb `demo`: the whole path on a simulated city."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ecumene.core.progress import Progress, silent
from ecumene.mapping.product import Product
from ecumene.models.bundle import Model
from ecumene.simulate.demo import write_demo
from ecumene.viewer import pictures as draw
from ecumene.viewer.report import Picture
from ecumene.viewer.scene_pictures import scene_picture
from ecumene.workflows.assess import Assessment, assess_map
from ecumene.workflows.map import map_scenes
from ecumene.workflows.report import make_report
from ecumene.workflows.stacks import open_sources
from ecumene.workflows.train import train_model

NOTICE = (
    "Everything here is simulated: scenes, labels and reference. The figures say nothing about accuracy on real scenes."
)
STEPS = 5


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration leaves."""

    model: Model
    product: Product
    assessment: Assessment
    report: Path


def run_demo(
    out: str | Path = "demo", *, seed: int = 7, epochs: int | None = None, progress: Progress = silent
) -> DemoResult:
    """Simulate a city, train from its polygons, map a partly clouded scene, assess the map, write a report.

    Args:
        out: Folder for scenes, model, product and `report.html`.
        seed: Of the city and the training.
        epochs: Most passes over the training set; None: the system's.
        progress: Called with (steps done, steps, what).

    Returns:
        Model, product, assessment and the report's path.

    Raises:
        ProductError: If the folder cannot be written to.
    """
    out = Path(out)
    progress(0, STEPS, "simulate a city")
    data = write_demo(out, seed)
    clear = data.sentinel2[-1]
    progress(1, STEPS, "train from polygons")
    model = train_model(clear, data.labels, out / "model", seed=seed, epochs=epochs, split_by="feature")
    progress(2, STEPS, "map the scene")
    product = map_scenes(model, clear, out / "product")
    clouded = map_scenes(model, data.cloudy, out / "product-clouded", mask_clouds=False)
    progress(3, STEPS, "assess the map")
    assessment = assess_map(product, data.reference, out=out / "assessment.json")
    progress(4, STEPS, "write the report")
    flags = draw.read_reduced(clouded.path("outlier"))
    caption = (
        "The same model on a partly clouded date whose clouds were not masked: "
        "the outlier flag finds what it was not trained for."
    )
    extra = []
    cloudy_source = open_sources(data.cloudy)[0]
    seen = scene_picture(cloudy_source)
    if seen is not None:
        extra.append(Picture("Another date, clouded", seen.uri, seen.caption))
    extra.append(Picture("Outliers on the clouded date", draw.flag_picture(flags), caption))
    report = make_report(
        product,
        out / "report.html",
        title="ecumene demonstration: a simulated city",
        subtitle=f"Land cover from one Sentinel-2 scene and a few polygons; city number {seed}.",
        scenes=open_sources(clear),
        model=model,
        assessment=assessment,
        notices=[NOTICE],
        extra=extra,
    )
    progress(STEPS, STEPS, "done")
    return DemoResult(model, product, assessment, report.resolve())
