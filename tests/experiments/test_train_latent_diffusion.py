"""A latent diffusion model trained in pieces is the one trained at once, and gives maps."""

from __future__ import annotations

import io
import itertools
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from experiments.train_latent_diffusion import Settings, main
from interp.detectors import resumable_training
from interp.detectors.lare_maps import LatentError, load_pipeline

pytest.importorskip("accelerate")
pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder, files = tmp_path_factory.mktemp("photographs"), []
    for i in range(6):
        buffer = io.BytesIO()
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(
            buffer, "PNG"
        )
        files.append(buffer.getvalue())
    table = pa.table({"image": files, "wnid": ["n1"] * 6, "words": ["noise"] * 6})
    pq.write_table(table, folder / "train-0.parquet")
    return folder


@pytest.mark.parametrize("target", ["epsilon", "v_prediction"])
def test_pieces_make_the_same_model_as_one_run(photographs, tmp_path, target, monkeypatch):
    def settings(name: str) -> Settings:
        small = {
            "batch_size": 4,
            "autoencoder_width": 8,
            "width": 32,
            "unet_steps": 2,
            "autoencoder_steps": 2,
        }
        return Settings(photographs, tmp_path / name, target=target, device="cpu", **small)  # type: ignore[arg-type]

    main(settings("whole"))
    clock = itertools.count(step=300)  # five minutes pass at every look: one step of each part in eight
    hurried = SimpleNamespace(monotonic=lambda: next(clock), perf_counter=time.perf_counter)
    monkeypatch.setattr(resumable_training, "time", hurried)
    codes = []
    while not (tmp_path / "pieces" / "pipeline").exists():
        try:
            main(settings("pieces"))
        except SystemExit as ended:
            codes.append(ended.code)
    assert codes == [1, 1]
    maps = []
    for name in ("whole", "pieces"):
        error = LatentError(load_pipeline(tmp_path / name / "pipeline"), side=64, draws=2)
        assert error.target == target and error.shape == (4, 16, 16)
        pixels = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
        maps.append(error(pixels, ["an image"]))
    torch.testing.assert_close(maps[0], maps[1])
    scale = load_pipeline(tmp_path / "whole" / "pipeline").vqvae.config.scaling_factor
    assert scale > 0 and scale != pytest.approx(0.18215)
