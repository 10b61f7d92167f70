"""Whether the files of a data set are simulated, so that no figure of them passes for one of real data."""

from __future__ import annotations

import json
from pathlib import Path

NOTICE_NAME = "SIMULATED.json"
"""What `ecumene simulate` writes beside a data set."""
SIMULATED_PREFIX = "SIMULATED, in the files of "
"""What stands before the title of the published set."""
SIMULATED_LICENCE = "CC0-1.0"
_LARGEST = 1 << 20


def simulated_notice(folder: str | Path) -> str | None:
    """Return the notice of a simulated data set, None where there is none.

    Args:
        folder: The folder or archive that was opened; the notice lies in it, or in one of the two folders above it.
    """
    place = Path(folder)
    for candidate in (place, *place.resolve().parents[:2]):
        path = candidate / NOTICE_NAME
        try:
            if not path.is_file() or path.stat().st_size > _LARGEST:
                continue
            notice = json.loads(path.read_text(encoding="utf-8")).get("notice")
        except (OSError, ValueError, AttributeError):
            notice = None
        # A notice that cannot be read is a notice all the same.
        return str(notice) if notice else f"SIMULATED, says a file {NOTICE_NAME} beside the data"
    return None
