"""S3-compatible servers for GDAL, from the environment variables that Amazon's own tools read.

GDAL takes credentials from the usual `AWS_*` variables, but it names an endpoint in its own way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit


def gdal_options(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return GDAL's options for the endpoint that `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL` names.

    Args:
        environment: Variables; None: those of this process.

    Returns:
        Options without credentials; empty where no endpoint is named, or GDAL's own variable names one.
    """
    variables = os.environ if environment is None else environment
    url = variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL")
    if not url or "AWS_S3_ENDPOINT" in variables:
        return {}
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return {
        "AWS_S3_ENDPOINT": host + parts.path.rstrip("/"),
        "AWS_HTTPS": "NO" if parts.scheme == "http" else "YES",
        "AWS_VIRTUAL_HOSTING": variables.get("AWS_VIRTUAL_HOSTING", "FALSE"),
    }
