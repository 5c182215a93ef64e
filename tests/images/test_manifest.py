"""Manifests as people write them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interp.errors import InputError
from interp.images.manifest import read_manifest, standardise

LABELS = {"real": "real", "0": "real", "False": "real", "FAKE": "fake", "1": "fake", " true ": "fake", "": ""}
ROWS = st.lists(
    st.tuples(
        st.sampled_from(sorted(LABELS)),
        st.sampled_from(["", "glide", "dalle2"]),
        st.sampled_from(["", "diffusion"]),
        st.sampled_from(["", "prompt 1"]),
    ),
    min_size=1,
)


def written(folder: Path, text: str) -> Path:
    (folder / "manifest.csv").write_text(text, encoding="utf-8")
    return folder / "manifest.csv"


@given(ROWS)
def test_rows_are_completed_consistently(rows: list[tuple[str, str, str, str]]) -> None:
    given_table = pd.DataFrame(rows, columns=["label", "generator", "generator_family", "group"])
    keys = [f"{i}.png" for i in range(len(rows))]
    table = standardise(given_table, keys)
    assert table.index.tolist() == keys
    for key, (label, generator, family, group) in zip(keys, rows, strict=True):
        row = table.loc[key]
        expected = LABELS[label] or ("fake" if generator else "")
        assert row["label"] == expected
        maker = {"real": "real", "fake": generator or "fake", "": ""}[expected]
        assert row["generator"] == maker
        assert row["family"] == ("real" if expected == "real" else family or maker)
        assert row["group"] == (group or key)
    assert table["generator_family"].tolist() == [family for _, _, family, _ in rows]
    again = standardise(table, keys)
    pd.testing.assert_frame_equal(again, table)


def test_labels_come_from_generators_where_there_are_none() -> None:
    table = standardise(pd.DataFrame({"generator": ["real", "Real", "glide", None]}), ["a", "b", "c", "d"])
    assert table["label"].tolist() == ["real", "real", "fake", ""]
    assert table["generator"].tolist() == ["real", "real", "glide", ""]


@pytest.mark.parametrize("labels", [[0, 1], [0.0, 1.0], [False, True], pd.Categorical(["real", "fake"])])
def test_labels_of_any_type_are_read(labels: object) -> None:
    assert standardise(pd.DataFrame({"label": labels}), ["a", "b"])["label"].tolist() == ["real", "fake"]


def test_wrong_labels_are_named_with_their_rows() -> None:
    with pytest.raises(InputError, match=r"1 rows.*b\.png: 'reel'"):
        standardise(pd.DataFrame({"label": ["real", "reel"]}), ["a.png", "b.png"])
    with pytest.raises(InputError, match=r"generator real: a\.png"):
        standardise(pd.DataFrame({"label": ["fake"], "generator": ["real"]}), ["a.png"])


def test_further_columns_are_kept_and_clobber_nothing(tmp_path: Path) -> None:
    text = '\ufeffpath,label,key,score,prompt,group\na.png,1,k1,0.5,NA,007\nb.png,0,k2,,"x, y",\n'
    read = read_manifest(written(tmp_path, text))
    table = standardise(read, ["a.png", "b.png"])
    assert table.columns.tolist() == [
        "label",
        "generator",
        "family",
        "group",
        "manifest_key",
        "score",
        "prompt",
    ]
    assert table["score"].dtype == float
    assert table["prompt"].tolist() == ["NA", "x, y"]
    assert table["group"].tolist() == ["007", "b.png"]
    assert table["manifest_key"].tolist() == ["k1", "k2"]


def test_parquet_and_csv_read_alike(tmp_path: Path) -> None:
    table = pd.DataFrame({"path": ["a.png", "b.png"], "label": ["real", "fake"], "width": [3, 4]})
    table.to_csv(tmp_path / "m.csv", index=False)
    table.set_index("width", drop=False).to_parquet(tmp_path / "m.parquet")
    pd.testing.assert_frame_equal(read_manifest(tmp_path / "m.csv"), read_manifest(tmp_path / "m.parquet"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("paths,label\na.png,real\n", "did you mean 'paths'.*Known: label, paths"),
        ("path,label\n", "has no row"),
        ("", "cannot read"),
        ("path,label\na.png,real,oops\n", "more fields than its header"),
        ('path,label\n"a.png,real\n', "cannot read"),
    ],
)
def test_broken_manifests_say_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_manifest(written(tmp_path, text))


def test_what_is_no_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no manifest"):
        read_manifest(tmp_path / "missing.csv")
    (tmp_path / "m.txt").write_text("path\na.png\n")
    with pytest.raises(InputError, match=r"ends in \.csv or \.parquet"):
        read_manifest(tmp_path / "m.txt")
    for name in ("m.parquet", "m.csv"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00not a table")
        with pytest.raises(InputError, match="cannot read"):
            read_manifest(tmp_path / name)
