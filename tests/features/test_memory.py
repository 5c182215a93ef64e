"""Memory does not grow with the number of images."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

LOOK = """
import json, resource, sys
from test_cut_off import ImageSet, extract, tiny
out, images = sys.argv[2], ImageSet.open(sys.argv[1])
store = extract(images, tiny(), out, batch_size=32, shard_size=256, workers=2, progress=False)
who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
print(json.dumps([len(store), *(resource.getrusage(w).ru_maxrss / 1024 for w in who)]))
"""


def peak(manifest: Path, out: Path) -> tuple[float, float]:
    """MB that a run takes at most: itself, and the largest of its decoding processes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", LOOK, str(manifest), str(out)]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    count, own, child = json.loads(said.splitlines()[-1])
    assert count == len(pd.read_csv(manifest))
    return own, child


@pytest.mark.slow
def test_twenty_thousand_images_take_the_memory_of_two_thousand(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(2000):
        levels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(levels).save(tmp_path / f"{i:04d}.png")
    names = [f"{i:04d}.png" for i in range(2000)]
    for i in range(2000, 20_000):
        name = f"link {i:05d}.png"
        (tmp_path / name).symlink_to(names[i % 2000])
        names.append(name)
    found = {}
    for count in (2000, 20_000):
        manifest = tmp_path / f"{count}.csv"
        pd.DataFrame({"path": names[:count], "label": ["real", "fake"] * (count // 2)}).to_csv(manifest)
        found[count] = peak(manifest, tmp_path / f"store {count}")
    print(found)
    own, children = (found[20_000][i] - found[2000][i] for i in (0, 1))
    assert own < 200 and children < 200, found
