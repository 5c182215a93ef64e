"""The head atlas in a real browser: it opens, answers clicks and searches, is quick, and the console stays empty."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pandas as pd
import pytest
from devtools import Browser
from PIL import Image
from random_clip import random_clip

from interp.detectors.detector import Detector, LinearScore
from interp.encoders.encoder import Encoder
from interp.features.extract import extract
from interp.images.image_set import ImageSet
from interp.images.preprocess import Preprocessing
from interp.report.atlas import write_atlas
from interp.report.atlas_heads import head_atlas

pytestmark = pytest.mark.browser

HOSTILE = "</script><script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1>"
DETAIL = "document.querySelector('.detail').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_complaint(browser):
    browser.complaints.clear()
    yield
    assert browser.complaints == []


@pytest.fixture(scope="module")
def page(small_run, tmp_path_factory):
    """Two runs side by side, with words for some heads."""
    options = {"images": small_run.images, "encoder": random_clip(), "top": 2, "progress": False}
    first, second = head_atlas(small_run.folder, **options), head_atlas(small_run.folder, progress=False)
    words = pd.DataFrame({"head": ["L1.H2", "L1.H2", "L3.H0"], "rank": [1, 2, 1], "explained": 0.25})
    words = words.assign(phrase=["striped fur", "fog", "a striped tent"], so_far=0.5, null_so_far=0.1)
    first = dataclasses.replace(first, words=words.assign(reliable=[True, False, True]))
    return write_atlas(first, tmp_path_factory.mktemp("atlas"), other=second)


def cell(head: str, run: int = 0) -> str:
    return f"document.querySelectorAll('.run')[{run}].querySelector('[data-head=\"{head}\"]')"


def test_a_click_shows_the_head_in_both_runs_and_keys_go_on(browser, page, small_run):
    browser.open(page)
    browser.evaluate(f"{cell('L1.H2')}.click()")
    titles = "[...document.querySelectorAll('.detail h3')].map(h => h.textContent)"
    assert browser.evaluate(titles) == ["L1.H2", "L1.H2"]
    text = browser.evaluate(DETAIL)
    ranking = small_run.result.ranking.table.set_index("head").loc["L1.H2"]
    assert f"{ranking['transfer_auc']:.3f}" in text and f"{ranking['rank']:.0f} of 16" in text
    assert "striped fur 25.0 %" in text and "cannot be trusted" in text and "simulated-smooth" in text
    assert (
        browser.evaluate("[...document.querySelectorAll('.strip img')].filter(i => i.naturalWidth).length")
        == 4
    )
    assert browser.evaluate("document.querySelectorAll('.look canvas').length") == 1
    for key, head in [("ArrowDown", "L2.H2"), ("ArrowLeft", "L2.H1"), ("ArrowUp", "L1.H1")]:
        browser.send("Input.dispatchKeyEvent", type="keyDown", key=key)
        browser.send("Input.dispatchKeyEvent", type="keyUp", key=key)
        assert browser.evaluate(titles)[0] == browser.evaluate("document.activeElement.dataset.head") == head


def test_a_measure_colours_the_grid_and_is_explained(browser, page):
    browser.open(page)
    colours = "[...document.querySelectorAll('.run:first-child .head')].map(c => c.style.backgroundColor)"
    before = browser.evaluate(colours)
    browser.evaluate(
        "pick = document.getElementById('measure'); pick.value = 'direct_effect';"
        "pick.dispatchEvent(new Event('change')); 0"
    )
    after = browser.evaluate(colours)
    assert before != after and len(set(after)) > 8
    assert "log-odds" in browser.evaluate("document.getElementById('meaning').textContent")
    low, high = browser.evaluate(
        "['low', 'high'].map(c => Number(document.querySelector('.scale .' + c).textContent.replace('−', '-')))"
    )
    assert low == -high < 0  # zero is the middle of its colours


@pytest.mark.parametrize(
    ("asked", "heads"),
    [
        ("striped", {"L1.H2", "L3.H0"}),
        ("fog striped", {"L1.H2"}),
        ("l2", {f"L2.H{i}" for i in range(4)}),
        ("L0.H3", {"L0.H3"}),
        ("nowhere", set()),
    ],
)
def test_a_search_dims_all_other_heads(browser, page, asked, heads):
    browser.open(page)
    browser.evaluate(
        f"search.value = {json.dumps(asked)}; search.dispatchEvent(new Event('input')); 0".replace(
            "search", "document.getElementById('search')"
        )
    )
    lit = browser.evaluate(
        "[...document.querySelectorAll('.run:first-child .head:not(.dim)')].map(c => c.dataset.head)"
    )
    assert set(lit) == heads
    assert browser.evaluate("document.getElementById('found').value").split()[0] == str(
        browser.evaluate("document.querySelectorAll('.head:not(.dim)').length")
    )


def test_the_slider_tells_the_curve_s_numbers(browser, page, small_run):
    browser.open(page)
    curves = pd.read_csv(small_run.folder / "tables" / "removal_curves.csv")
    last = browser.evaluate(
        "s = document.querySelector('.removal input'); s.value = s.max; s.dispatchEvent(new Event('input'));"
        "document.querySelector('.removal p').textContent"
    )
    step = int(last.split()[0])
    assert f"test AUC {curves.loc[curves['removed'] == step, 'test_auc'].mean():.3f}" in last


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_it_fits_the_window_and_is_readable_in_light_and_dark(browser, page, width, scheme):
    browser.send(
        "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
    )
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(page)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    grey = np.asarray(Image.open(io.BytesIO(browser.screenshot())).convert("L")).astype(float)
    paper = np.median(grey)
    assert (paper > 200) == (scheme == "light")
    assert 0.02 < (np.abs(grey - paper) > 90).mean() < 0.5


def test_it_prints_the_heads_and_the_first_table(browser, page):
    browser.send("Emulation.setEmulatedMedia", media="print")
    browser.open(page)
    shown = "getComputedStyle(document.querySelector({!r})).display"
    assert browser.evaluate(shown.format("#controls")) == "none"
    assert browser.evaluate(shown.format(".grid")) == "grid"
    assert browser.send("Page.printToPDF")["data"]
    browser.send("Emulation.setEmulatedMedia", media="")


def test_hostile_names_of_files_and_generators_run_nothing(browser, tmp_path):
    rows = []
    for i in range(6):
        path = tmp_path / f"{i}{HOSTILE}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(path)
        names = {"label": "fake", "generator": HOSTILE} if i % 2 else {"label": "real", "generator": "real"}
        rows.append({"path": path.relative_to(tmp_path).as_posix(), **names})
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    images = ImageSet.open(tmp_path / "manifest.csv")
    store = extract(images, random_clip(), tmp_path / "store", workers=0, progress=False)
    atlas = head_atlas(store.folder, images=images, encoder=random_clip(), top=3, progress=False)
    browser.open(write_atlas(dataclasses.replace(atlas, name=HOSTILE), tmp_path / "page.html", title=HOSTILE))
    for head in store.layout.names:
        browser.evaluate(f"{cell(head)}.click()")
        assert HOSTILE.split("/")[-1] in browser.evaluate(DETAIL)
    assert (
        browser.evaluate("document.title")
        == browser.evaluate("document.querySelector('h1').textContent")
        == HOSTILE
    )
    assert browser.evaluate("window.hacked === undefined")
    assert browser.evaluate("document.scripts.length") == 2


class RandomTexts:
    """Stands in for a text tower."""

    reliability = None

    def __init__(self, width: int):
        self.width = width

    def __call__(self, texts: tuple[str, ...], templates: tuple[str, ...]) -> np.ndarray:
        vectors = np.random.default_rng(0).normal(size=(len(texts), self.width))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.slow
def test_384_heads_of_3000_images_open_and_answer_at_once(browser, tmp_path):
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    rng, rows = np.random.default_rng(0), []
    for i in range(3000):
        name = f"{('real', 'one', 'two', 'three')[i % 4]}/{i:04d}.png"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        coarse = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((96, 96), Image.Resampling.BICUBIC).save(
            tmp_path / name, compress_level=1
        )
        rows.append({"path": name, "label": "fake" if i % 4 else "real", "generator": name.split("/")[0]})
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    images = ImageSet.open(tmp_path / "manifest.csv")
    shape = {"hidden_size": 128, "intermediate_size": 64, "num_hidden_layers": 24, "num_attention_heads": 16}
    config = CLIPVisionConfig(**shape, image_size=32, patch_size=16, projection_dim=64)
    encoder = Encoder(CLIPVisionModelWithProjection(config), Preprocessing.clip(32), name="384 heads")
    store = extract(images, encoder, tmp_path / "run" / "store", workers=0, progress=False)
    names, run = np.array(store.layout.names), tmp_path / "run"
    (run / "tables").mkdir()
    drawn = {
        "transfer_auc": rng.uniform(0.5, 1, 384),
        "in_distribution_auc": 0.9,
        "gap": 0.1,
        "stability": 0.5,
    }
    pd.DataFrame({"head": names, **drawn}).to_csv(run / "tables" / "ranking.csv", index=False)
    splits = [{"head": names, "train": "one", "select": s, "seed": 0, **drawn} for s in ("two", "three")]
    pd.concat(map(pd.DataFrame, splits)).to_csv(run / "tables" / "ranking_per_split.csv", index=False)
    (run / "run.json").write_text(json.dumps({"store": store.key}))
    Detector("embedding", "embedding", LinearScore(rng.normal(size=64), 0.0), 0.0, store.key).save(
        run / "detectors" / "embedding"
    )
    options = {"texts": RandomTexts(64), "phrases": [f"phrase {i}" for i in range(300)], "nulls": 0}
    atlas = head_atlas(run, images=images, encoder=encoder, progress=False, **options)
    page = write_atlas(atlas, tmp_path / "page.html")
    assert len(atlas.pictures) > 1000 and page.stat().st_size <= 20e6
    assert browser.open(page) <= 3.0
    actions = [f"{cell(head)}.click()" for head in rng.choice(names, 12)]
    pick = "document.getElementById('measure')"
    for measure in ("stability", "direct_effect"):
        actions.append(f"{pick}.value = '{measure}'; {pick}.dispatchEvent(new Event('change'))")
    find = "document.getElementById('search')"
    actions += [
        f"{find}.value = '{text}'; {find}.dispatchEvent(new Event('input'))"
        for text in ("phrase 1", "l20", "")
    ]
    took = {action: browser.until_painted(action) for action in actions}
    assert max(took.values()) < 0.2, took
