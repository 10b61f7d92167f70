"""`ecumene clear` on the command line."""

from __future__ import annotations

import numpy as np
from clear_series import disc, write_date, write_radar
from typer.testing import CliRunner

from ecumene.cli.main import app


def test_clear_writes_dates_and_says_what_was_filled(tmp_path):
    scenes = [str(write_date(tmp_path, day, disc(30, 30, 12) if day == 30 else None)) for day in (10, 30, 50)]
    radar = write_radar(tmp_path, 31)
    result = CliRunner().invoke(
        app, ["clear", *scenes, "--radar", str(radar), "--method", "linear", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert "2020-01-31:" in result.output
    assert "% filled" in result.output
    assert (tmp_path / "out" / "2020-01-31" / "item.json").is_file()


def test_clear_refuses_a_single_date(tmp_path):
    scene = write_date(tmp_path, 10, np.zeros((80, 80), bool))
    result = CliRunner().invoke(app, ["clear", str(scene), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1 or "One date alone" in str(result.exception)
    assert not (tmp_path / "out").exists()
