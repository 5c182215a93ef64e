"""The audit's command leaves its tables, its text and a page that says the alarm first; and does what it advises."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from interp.cli.audit import audit
from interp.evaluation.audit_words import word_shortcuts
from interp.images.simulated import draw_simulated_set


def test_the_command_writes_everything_and_equalises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = draw_simulated_set(
        tmp_path / "set", n_per_class=24, generators=["simulated-smooth"], progress=False
    )
    fakes = images.table.index[images.table["label"] == "fake"]
    for key in fakes:  # fakes alone were saved by another program
        Image.open(images.path(key)).convert("RGB").save(images.path(key), "JPEG", quality=90)
    code = audit(
        tmp_path / "set", out=tmp_path / "out", jobs=1, content=False, write_equalised=tmp_path / "new"
    )
    printed = capsys.readouterr().out
    assert code == 0 and "ALARM" in printed and "common:" in printed
    page = (tmp_path / "out/audit.html").read_text()
    assert page.index("ALARM") < page.index("What the containers tell") and "format" in page
    assert {"audit.csv", "files.csv", "near_duplicates.csv", "groups.csv", "audit.txt"} <= {
        file.name for file in (tmp_path / "out").iterdir()
    }
    assert audit(tmp_path / "new", jobs=1, content=False, write_equalised=tmp_path / "none") == 0
    assert "No alarm" in capsys.readouterr().out and not (tmp_path / "none").exists()


def test_words_are_asked_where_they_can_be_trusted(small_words: tuple) -> None:
    store, text = small_words
    found = word_shortcuts(store, text, ["animal", "painting", "blurry"])
    assert found.attrs["skipped"] == ["painting"]
    assert set(found["feature"].str.split(": ").str[1]) == {"animal", "blurry"}
    assert (found["auc"] >= 0.5).all() and found["p"].between(0, 1).all()
    reliability = pd.DataFrame({"phrase": ["painting"], "reliable": [True]})
    assert len(word_shortcuts(store, text, ["animal", "painting"], reliability=reliability)) == 1


@pytest.fixture(scope="module")
def small_words(tmp_path_factory: pytest.TempPathFactory) -> tuple:
    import interp
    from interp.explain.text_encoder import load_text_encoder

    folder = tmp_path_factory.mktemp("words")
    images = draw_simulated_set(
        folder / "set", n_per_class=12, generators=["simulated-smooth"], progress=False
    )
    store = interp.extract(
        images, interp.load_encoder("embedded"), folder / "store", workers=0, progress=False
    )
    return store, load_text_encoder("embedded")
