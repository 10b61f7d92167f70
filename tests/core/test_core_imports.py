"""Start-up stays light, and a broken torchvision does not take others down."""

import json
import subprocess
import sys
import time

import pytest

HEAVY = ("torch", "lightning", "timm", "rasterio", "geopandas", "sklearn", "matplotlib", "xarray", "numba", "pandas")


def _run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, json\n"
        "from typer.testing import CliRunner\n"
        "from ecumene.cli.main import app\n"
        "result = CliRunner().invoke(app, ['--help'])\n"
        "assert result.exit_code == 0 and 'assess' in result.output, result.output\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    assert json.loads(_run(code)) == []


def test_help_answers_soon() -> None:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ecumene", "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    # Speed is measured elsewhere; this only catches an import of torch (2 s) creeping in.
    assert min(times) < 2.0


def test_public_names_resolve_and_none_is_a_room() -> None:
    code = (
        "import ecumene, pathlib, json\n"
        "rooms = {p.name for p in pathlib.Path(ecumene.__file__).parent.iterdir() if p.is_dir()}\n"
        "names = [n for n in ecumene.__all__ if not n.startswith('_')]\n"
        "assert all(callable(getattr(ecumene, n)) for n in names)\n"
        "print(json.dumps(sorted(rooms & set(names))))"
    )
    assert json.loads(_run(code)) == []


def test_torchvision_guard_makes_the_users_of_torchvision_importable() -> None:
    pytest.importorskip("torch")
    code = (
        "from ecumene.core.torchvision_guard import ensure_torchvision\n"
        "guarded = ensure_torchvision()\n"
        "assert ensure_torchvision() == guarded\n"
        "import torchvision, timm, segmentation_models_pytorch, torchmetrics, lightning\n"
        "print(guarded)"
    )
    assert _run(code).strip() in {"True", "False"}


def test_torchvision_guard_stays_away_from_a_whole_torchvision() -> None:
    pytest.importorskip("torch")
    code = (
        "import ecumene.core.torchvision_guard as guard\n"
        "guard._extension_loads = lambda: True\n"
        "assert guard.ensure_torchvision() is False and not guard._KEEP\n"
    )
    _run(code)


def test_missing_library_names_the_extra() -> None:
    from ecumene.core.errors import MissingDependencyError
    from ecumene.core.optional import require

    with pytest.raises(MissingDependencyError, match=r"pip install 'ecumene\[all\]'"):
        require("no_such_library_at_all")
