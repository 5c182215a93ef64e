"""Grids of published protocols: their constants, and where code and paper differ."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed
from PIL import Image

from interp.errors import InputError
from interp.images.launder_presets import PRESETS, preset
from interp.images.laundering import STEPS, Laundering

JPEG = [f"jpeg:{quality}" for quality in (100, 90, 80, 70, 60, 50, 40, 30)]


def texts(name: str, as_published: str = "code") -> dict[str, str]:
    cells = preset(name, as_published=as_published).cells
    return {name: str(cell.laundering) for name, cell in cells.items()}


@pytest.mark.parametrize("name", ["wang2020", "ufd"])
def test_wang_and_ufd_test_eight_qualities_and_five_blurs(name: str) -> None:
    assert list(texts(name)) == JPEG + [f"blur:{sigma}:down" for sigma in range(5)]
    assert list(texts(name, "paper")) == JPEG + [f"blur:{sigma}" for sigma in range(5)]


def test_training_augmentations() -> None:
    def found(name: str, as_published: str) -> dict[str, str]:
        training = preset(name, as_published=as_published).training
        return {variant: str(chain) for variant, chain in training.items()}

    assert found("wang2020", "code") == {
        "blur+jpeg (0.1)": "blur:0-3:down@0.1+jpeg:30-100@0.1",
        "blur+jpeg (0.5)": "blur:0-3:down@0.5+jpeg:30-100@0.5",
    }
    assert found("ufd", "paper") == {"blur+jpeg": "blur:0-3@0.5+jpeg:30-100@0.5"}
    assert found("rine", "code") == {"blur+jpeg": "blur:0-3:down@0.5+jpeg:30|100@0.5"}  # the list of two
    assert found("rine", "paper") == {"blur+jpeg": "blur:0-3@0.5+jpeg:30-100@0.5"}
    assert found("sidbench", "code") == found("cozzolino", "code") == {}


def test_rine_as_its_code_does_it() -> None:
    assert texts("rine") == {
        "blur": "kernelblur:3|5|7|9:4@0.5",  # sigma is OpenCV's BORDER_DEFAULT, which is 4
        "crop": "cropback:0.8-0.95:swapped@0.5",
        "compress": "jpeg:95:bgr@0.5",  # the quality is taken for a parameter's number
        "noise": "noise:5-20:down@0.5",  # what is called variance is used as the deviation
        "combined": "(kernelblur:3|5|7|9:4+cropback:0.8-0.95:swapped+jpeg:95:bgr+noise:5-20:down)@0.5",
    }


def test_rine_as_the_paper_means_it() -> None:
    assert texts("rine", "paper") == {
        "blur": "kernelblur:3|5|7|9@0.5",
        "crop": "cropback:0.8-0.95@0.5",
        "compress": "jpeg:10-75@0.5",
        "noise": "noise:5-20:variance@0.5",
        "combined": "(kernelblur:3|5|7|9+cropback:0.8-0.95+jpeg:10-75+noise:5-20:variance)@0.5",
    }


def test_sidbench_and_cozzolino() -> None:
    jpeg = ["jpeg:95", "jpeg:90", "jpeg:50", "jpeg:30"]
    assert list(texts("sidbench", "paper")) == [*jpeg, "blur:2", "blur:4", "blur:2+jpeg:50"]
    assert list(texts("sidbench")) == [*jpeg, "blur:2:down", "blur:4:down", "blur:2:down+jpeg:50"]
    assert texts("cozzolino") == texts("cozzolino", "paper") == {"social:vipcup": "social:vipcup"}


def test_the_default_grid() -> None:
    cells = preset("default").cells
    curves: dict[str, list[float]] = {}
    for cell in cells.values():
        curves.setdefault(cell.operation, []).append(cell.severity)
    assert [name for name in cells if name.startswith("jpeg:")] == [
        f"jpeg:{quality}" for quality in (100, 95, 90, 85, 80, 75, 70, 65, 60, 50, 40, 30)
    ]
    assert curves["jpeg"] == [0, 5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 70]
    assert curves["webp"] == [10, 25, 50, 70] and "webp:90" in cells
    assert curves["blur"] == [0.5, 1, 2, 3, 4] and curves["noise"] == [2, 5, 10, 20]
    assert curves["crop"] == curves["cropback"] == [0.1, 0.25, 0.5]
    for kernel in ("bilinear", "bicubic", "lanczos"):
        assert curves[f"shrink ({kernel})"] == pytest.approx([0.415, 1, 2], abs=1e-3)
        assert curves[f"enlarge ({kernel})"] == pytest.approx([0.322, 0.585, 1], abs=1e-3)
    single = ["jpeg2:90:70", "screenshot", "social:facebook", "messenger:telegram", "messenger:whatsapp"]
    assert set(single) < set(cells) and len(cells) == 12 + 1 + 4 + 18 + 5 + 4 + 6 + 4
    assert not any(name.startswith("vae") for name in cells)
    assert list(preset("default", vae=["some/folder"]).cells)[-1] == "vae:some/folder"


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("as_published", ["code", "paper"])
def test_every_cell_is_read_back_grows_along_its_curve_and_runs(name: str, as_published: str) -> None:
    found = preset(name, as_published=as_published)
    assert found.name == name and found.as_published == as_published and found.source
    image, severities = Image.new("RGB", (40, 30), "teal"), {}
    for cell in found.cells.values():
        assert Laundering.parse(str(cell.laundering)) == cell.laundering
        assert cell.severity > severities.get(cell.operation, -1)
        severities[cell.operation] = cell.severity
        assert cell.laundering.apply(image, "key").mode == "RGB"


def test_every_cell_and_training_is_made_again_in_another_process_and_order() -> None:
    chains = {}
    for name in PRESETS:
        for as_published in ("code", "paper"):
            found = preset(name, as_published=as_published)
            for chain in [cell.laundering for cell in found.cells.values()] + list(found.training.values()):
                chains[str(chain)] = chain
    levels = np.random.default_rng(0).integers(0, 256, (2, 37, 44, 3), dtype=np.uint8)
    images = {f"photos/{n}.png": Image.fromarray(one) for n, one in enumerate(levels)}
    jobs = [(chain, key) for chain in chains.values() for key in images]
    here = [chain.apply(images[key], key).tobytes() for chain, key in jobs]
    order = np.random.default_rng(1).permutation(len(jobs))
    there = Parallel(n_jobs=2, backend="loky")(
        delayed(jobs[i][0].apply)(images[jobs[i][1]], jobs[i][1]) for i in order
    )
    assert len(chains) > 70
    assert [here[i] for i in order] == [image.tobytes() for image in there]


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'wang2020'"):
        preset("wang20")
    with pytest.raises(InputError, match="did you mean 'paper'"):
        preset("ufd", as_published="papers")


def test_the_page_lists_every_step_and_every_preset() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "laundering.md").read_text()
    listed = re.findall(
        r"^\| `([^`]+)`", page.split("\n## Steps\n")[1].split("\n### ")[0], flags=re.MULTILINE
    )
    assert {text.split(":")[0] for text in listed} == set(STEPS)
    for text in listed:
        assert str(Laundering.parse(text)).startswith(text.split(":")[0])
    grids = page.split("\n## Grids\n")[1].split("\n### ")[0]
    assert set(re.findall(r"^\| `([^`]+)`", grids, flags=re.MULTILINE)) == set(PRESETS)
