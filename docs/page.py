"""What the scripts share that make a page from figures."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def write_or_check(path: Path, text: str, script: str, description: str | None) -> None:
    """Write a page; with `--check` change nothing and fail if the page is out of date.

    Args:
        path: The page.
        text: What it should hold.
        script: Which script makes it.
        description: For `--help`.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if the page is out of date")
    if not parser.parse_args().check:
        path.write_text(text, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != text:
        sys.exit(f"docs/{path.name} is out of date: run `python docs/{script}`.")
