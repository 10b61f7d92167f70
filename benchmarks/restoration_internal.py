"""Internal learning in `restoration.py`: networks fitted to the place itself, under the name `internal-learning`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.restoration.internal_learning import Frames, InternalOptions, restore
from ecumene.restoration.internal_trust import hide_and_restore, learn_trust
from restoration_data import Place

Array = NDArray[Any]


@dataclass
class FittedHere:
    """Fills a date by a network fitted to what stays clear of the place, as `clear --method internal-learning` does.

    The covered pixels are hidden and not seen under their clouds; error bars are from further clear pixels that are
    hidden, by networks fitted without them.

    Attributes:
        options: How networks are fitted.
    """

    options: InternalOptions = field(default_factory=InternalOptions)

    def applies(self, place: Place) -> bool:
        """See `Learned`: other dates or radar tell of what is covered."""
        return len(place.days) > 1 or place.radar is not None

    def fill(
        self, place: Place, image: NDArray[np.float32], date: int, covered: NDArray[np.bool_]
    ) -> tuple[Array, Array, Array]:
        """See `Learned`."""
        clear = place.usable.copy()
        clear[date] &= ~covered
        frames = Frames(place.image, clear, place.days, place.radar)
        restored = restore(frames, self.options, [date])
        if restored is None:
            nothing = np.full(place.image.shape[1:], np.nan, np.float32)
            return nothing, nothing, nothing
        spread = np.moveaxis(place.image, 1, 0)[:, clear].astype(np.float64).std(axis=1)
        hidden = hide_and_restore(frames, self.options, whole=not frames.learned[date])
        trust = learn_trust(hidden, spread, seed=self.options.seed)
        deviation, _ = trust.of_date(frames, restored, date)
        half = deviation * trust.calibration.interval[:, None, None].astype(np.float32)
        return restored.of(date)[0], deviation, half

    def training_of(self, place: Place) -> dict[str, Any]:
        """See `Learned`."""
        radar = place.radar is not None
        steps = self.options.steps_for(len(place.judged))
        return {"steps": steps, "width": self.options.width, "places": [place.name], "radar": radar}
