"""The page of a run: whole HTML, the tables' numbers, nothing loaded, and no name that a file or generator runs."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from interp.errors import InputError
from interp.evaluation.operating import SMALL_SETS
from interp.images.image_set import ImageSet
from interp.report.page import write_page
from interp.report.page_words import claim

VOID = {"meta", "link", "img", "br", "hr", "input"}
HOSTILE = "simulated-<script>alert(1)</script>\"onload='x"


class Page(HTMLParser):
    """A page read strictly: every tag closed in order; and the text of the cells that name their fields."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.numbers: dict[tuple[str, str], float] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        fields = (self.open[-1][1].get("data-fields") or "").split() if self.open else []
        if fields:
            arm = next(attrs["data-arm"] for _, attrs in reversed(self.open) if "data-arm" in attrs)
            found = [float(text.replace("−", "-")) for text in re.findall(r"[+−]?\d+\.\d+", data)]
            assert found or data == "–", data
            self.numbers |= {(arm, f): n for f, n in zip(fields, found or [np.nan] * 2, strict=False)}

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.seen if name in attrs]


@pytest.fixture(scope="module")
def page(small_run) -> Page:
    return Page((small_run.folder / "index.html").read_text())


def test_every_number_of_the_table_of_arms_is_the_summary_s(small_run, page):
    summary = small_run.result.summary
    fields = {field for _, field in page.numbers}
    assert {
        "mean_ood_auc",
        "low",
        "generators_high",
        "delta_to_embedding",
        "null_delta",
        "worst_auc",
    } <= fields
    assert {arm for arm, _ in page.numbers} == set(summary.index)
    for (arm, field), value in page.numbers.items():
        assert value == pytest.approx(summary.at[arm, field], abs=5.01e-4, nan_ok=True), (arm, field)
    for field in fields - {"delta_to_embedding", "delta_low", "delta_high", "null_delta"}:
        assert all((arm, field) in page.numbers for arm in summary.index if "delta" not in field)


def test_the_table_of_generators_is_the_csv_s(small_run):
    text = (small_run.folder / "index.html").read_text()
    row = re.search(r'<th scope="row">simulated-palette</th><td>(\d+)</td>(.*?)</tr>', text, re.S)
    shown = [float(number) for number in re.findall(r"\d\.\d{3}", row[2])] if row else []
    measured = pd.read_csv(small_run.folder / "tables" / "generators.csv").set_index(["test", "arm"])
    measured = measured.loc["simulated-palette"].loc[list(small_run.result.summary.index)]
    assert row and int(row[1]) == round(measured["n_fake"].iloc[0])
    assert shown == pytest.approx(measured[["auc", "low", "high"]].to_numpy().ravel(), abs=5.01e-4)


def test_the_table_of_decisions_is_the_csv_s(small_run):
    text = (small_run.folder / "index.html").read_text()
    table = re.search(r'id="decisions".*?</table>', text, re.S)
    row = re.search(r'data-arm="all_heads">(.*?)</tr>', table[0], re.S) if table else None
    shown = (
        [float(number) for number in re.findall(r"\d\.\d{3}", re.sub(r'title="[^"]*"', "", row[1]))]
        if row
        else []
    )
    measured = pd.read_csv(small_run.folder / "tables" / "operating.csv").set_index(["arm", "test"])
    names = ("accuracy_photographs", "accuracy_fakes", "average_precision", "ece")
    wanted = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    expected = measured.loc[("all_heads", SMALL_SETS), wanted].tolist()
    spread = small_run.result.summary.loc["all_heads", ["next_low", "next_high"]].dropna().tolist()
    assert shown == pytest.approx(expected + spread, abs=5.01e-4)


def test_nothing_is_loaded_and_no_script_is_there(small_run, page):
    path = small_run.folder / "index.html"
    assert path.stat().st_size < 3e6
    text = re.sub(r"data:image/png;base64,[\w+/=]+", "", path.read_text())
    assert "http:" not in text and "https:" not in text and "url(" not in text and "@import" not in text
    assert not {tag for tag, _ in page.seen} & {"script", "iframe", "object", "embed", "form", "base"}
    assert all(source.startswith("data:") for source in page.attributes("src"))
    links = [link for link in page.attributes("href") if not link.startswith("data:")]
    assert "tables/summary.csv" in links
    assert all((small_run.folder / link).exists() for link in links)
    images = [attrs for tag, attrs in page.seen if tag == "img"]
    assert len(images) == 5 and all(len(one["alt"] or "") > 40 for one in images)  # no sample by default


def test_simulated_images_are_called_so(small_run, page):
    text = (small_run.folder / "index.html").read_text()
    assert text.index("Simulated images.") < text.index("What was asked")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.S)
    assert len(captions) == 5 and all("Simulated images." in caption for caption in captions)


def test_samples_are_shown_only_when_given(small_run, tmp_path):
    folder = shutil.copytree(small_run.folder, tmp_path / "run")
    text = write_page(small_run.result, folder, title="t", samples=small_run.images).read_text()
    shown = [attrs["alt"] or "" for tag, attrs in Page(text).seen if tag == "img"][:-5]
    generators = small_run.images.table["generator"].nunique()
    assert len(shown) == 6 * generators and all("simulated" in alt for alt in shown)


def test_hostile_names_of_generators_files_and_titles_run_nothing(small_run, tmp_path):
    folder = shutil.copytree(small_run.folder, tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"command": ["/bin/interp", "run", HOSTILE]}))
    file = "'><img src=x onerror=alert(1)>.png"
    Image.new("RGB", (8, 8)).save(tmp_path / file)
    store, transfer = copy.copy(small_run.result.store), dataclasses.replace(small_run.result.transfer)
    store.rows = store.rows.replace({"simulated-palette": HOSTILE, "quantising": HOSTILE})
    store.rows = store.rows.rename(index={store.rows.index[0]: file})
    cells = transfer.cells
    arms = tuple(HOSTILE if arm == "best_layer" else arm for arm in cells.arms)
    transfer = dataclasses.replace(transfer, cells=dataclasses.replace(cells, arms=arms))
    transfer.__dict__["summary"] = small_run.result.summary.assign(worst_generator=HOSTILE).rename(
        {"best_layer": HOSTILE}
    )
    operating = small_run.result.transfer.operating
    transfer.__dict__["operating"] = operating.replace({"best_layer": HOSTILE})
    result = dataclasses.replace(small_run.result, store=store, transfer=transfer)
    result.__dict__["warnings"] = [HOSTILE]
    images = ImageSet.from_paths([tmp_path / file])
    text = write_page(result, folder, title=HOSTILE, notice=HOSTILE, samples=images).read_text()
    read = Page(text)
    assert text.count("&lt;script&gt;") >= 10
    assert "script" not in {tag for tag, _ in read.seen}
    assert not [name for _, attrs in read.seen for name in attrs if name.startswith("on")]
    assert "default-src 'none'" in text


def test_a_folder_without_a_run_is_refused(small_run, tmp_path):
    with pytest.raises(InputError, match="no run.json"):
        write_page(small_run.result, tmp_path, title="t")


ROW = {"delta_to_embedding": 0.02, "delta_low": 0.01, "delta_high": 0.03, "p_holm": 0.01}
ROW |= {
    "delta_generators_low": -0.1,
    "delta_generators_high": 0.2,
    "carried_by": "sdxl",
    "delta_without_it": 0.004,
}


@pytest.mark.parametrize(
    ("changed", "high", "warned", "stands", "said"),
    [
        ({}, 0.01, False, True, "May be claimed for these generators only"),
        ({"delta_generators_low": 0.001}, 0.01, False, True, "generators like these too"),
        ({"delta_generators_low": np.nan}, 0.01, False, True, "too few families"),
        ({}, 0.03, False, False, "chance gains as much (random heads of the same number)"),
        ({}, 0.01, True, False, "the warning above could explain it"),
        ({"delta_low": -0.01}, 0.01, False, False, "its interval holds zero"),
        ({"p_holm": 0.06}, 0.01, False, False, "among so many detectors one differs as much by chance"),
        (
            {"delta_to_embedding": -0.02, "delta_low": -0.03, "delta_high": -0.01},
            0.01,
            False,
            False,
            "Worse than",
        ),
    ],
)
def test_a_claim_says_why(changed, high, warned, stands, said):
    nulls = pd.DataFrame(
        {"null": ["random heads", "permuted labels"], "draws": [50, 20], "high": [high, -0.01]}
    )
    found = claim("selected_heads", pd.Series(ROW | changed), nulls, warned=warned)
    assert found.stands is stands
    assert said in found.verdict + found.reason
    assert (
        f"its strongest null, random heads of the same number, reaches up to +{high:.3f} (50 draws)"
        in found.found
    )


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_it_without_a_complaint(small_run, tmp_path, width):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium on this machine; install chromium to see pages as readers do")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync --hide-scrollbars"
    )
    flags += " --disable-background-networking --disable-component-update --enable-logging=stderr --v=0"
    picture, page = tmp_path / "page.png", (small_run.folder / "index.html").resolve()
    command = [
        browser,
        *flags.split(),
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},2400",
    ]
    said = subprocess.run(
        [*command, f"--screenshot={picture}", page.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert ":CONSOLE" not in said.stderr, said.stderr
    with Image.open(picture) as shot:
        pixels = np.asarray(shot.convert("L"))
    assert pixels.shape == (2400, width)
    assert 0.02 < (pixels < 128).mean() < 0.5  # dark words on a light page
    blank = pixels[:, -6:]  # nothing is wider than the window
    assert (blank > 200).all()
    whole = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert whole.stdout.rstrip().endswith("</html>") and whole.stdout.count("<section") == 4
