"""A reader who closes the pipe, as `| head -1` does, loses lines on the screen and no file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from interp.images.simulated import draw_simulated_set


@pytest.mark.parametrize("command", ["check", "audit"])
def test_tables_are_written_before_anything_is_printed_of_them(command: str, tmp_path: Path) -> None:
    draw_simulated_set(tmp_path / "images", n_per_class=12, generators=["simulated-smooth"], progress=False)
    program = Path(sys.executable).with_name("interp")
    call = [program, command, tmp_path / "images", "--out", tmp_path / "out"]
    with (tmp_path / "complaints").open("w") as complaints:
        running = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=complaints)
        assert running.stdout is not None and running.stdout.readline()
        running.stdout.close()
        running.wait(timeout=100)
    assert list((tmp_path / "out").glob("*.csv"))
    assert "Traceback" not in (tmp_path / "complaints").read_text()
