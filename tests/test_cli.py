"""The command line as a user meets it: what works, what it prints when it does not, and its exit codes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from interp.cli import main

PREPROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "size": {"shortest_edge": 64},
    "crop_size": {"height": 64, "width": 64},
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    """The random CLIP as a folder on disk."""
    from random_clip import random_clip

    folder = tmp_path_factory.mktemp("encoder")
    random_clip().model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder


@pytest.fixture
def interp(monkeypatch, capsys):
    """Run a command; returns its exit code, what it printed, and what it complained about."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["interp", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return int(stopped.value.code or 0), printed.out, printed.err

    return run


def test_run_then_info_rank_and_score(interp, encoder, small_run, tmp_path):
    out = tmp_path / "run"
    parts = ["--train", "simulated-nearest", "--select", "simulated-smooth", "--test", "simulated-palette"]
    parts += ["--seeds", "1", "--nulls", "2", "--resamples", "40", "--jobs", "1"]
    code, printed, _ = interp(
        "run", small_run.images.root, "--encoder", encoder, "--workers", "0", *parts, "--out", out
    )
    assert code == 0
    assert "selected_heads" in printed
    assert json.loads((out / "summary.json").read_text())["detectors"]["embedding"]["delta_to_embedding"] == 0

    code, printed, _ = interp("info", out / "store")
    assert code == 0
    assert "KB an image" in printed
    code, printed, _ = interp("rank", out / "store", *parts[:8], "--top", "3", "--probe", "ridge")
    assert code == 0 and len(printed.splitlines()) == 5
    code, printed, _ = interp("rank", out / "store", *parts[:8], "--top", "3")
    assert code == 0
    assert "reliability" in printed

    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG nothing")
    good = small_run.images.path(small_run.images.keys[0])
    code, printed, _ = interp(
        "score", good, broken, "--detector", out, "--out", tmp_path / "scores.csv", "--workers", "0"
    )
    assert code == 3  # scored, but one image could not be read
    table = pd.read_csv(tmp_path / "scores.csv", index_col=0)
    assert table["verdict"].notna().tolist().count(True) == 1
    assert table["error"].notna().sum() == 1


def test_views_of_an_image_train_together_and_are_judged_and_scored_as_one(
    interp, encoder, small_run, tmp_path
):
    out = tmp_path / "run"
    parts = ["--train", "simulated-nearest", "--select", "simulated-smooth", "--test", "simulated-palette"]
    sizes = ["--seeds", "1", "--nulls", "2", "--resamples", "40", "--jobs", "1", "--workers", "0"]
    options = [*parts, *sizes, "--equalize", "96:75", "--views", "4", "--pool", "max", "--head-removal"]
    code, printed, _ = interp("run", small_run.images.root, "--encoder", encoder, *options, "--out", out)
    assert code == 0 and "head_removal" in printed
    keys = pd.read_parquet(out / "scores.parquet")["key"].unique()
    assert all(str(key).endswith("#0") for key in keys)  # one score for each image, under its first view

    two = [small_run.images.path(key) for key in small_run.images.keys[:2]]
    detector = ["--detector", out / "detectors" / "embedding", "--workers", "0"]
    code, _, _ = interp("score", *two, *detector, "--out", tmp_path / "scores.csv")
    assert code == 0
    table = pd.read_csv(tmp_path / "scores.csv", index_col=0)
    assert table.index.tolist() == [path.name for path in two] and table["score"].notna().all()


def test_check_ablate_and_reproduce_run_from_the_command_line(interp, small_run, tmp_path):
    code, printed, _ = interp("check", small_run.images.root, "--jobs", "1", "--out", tmp_path / "check")
    assert code == 0 and "0 unreadable" in printed and (tmp_path / "check/files.csv").exists()

    parts = ["--train", "simulated-nearest", "--select", "simulated-smooth", "--test", "simulated-palette"]
    grid = ["--heads", "all", "4", "--removal", "none", "--C", "0.01", "--aggregate", "concat"]
    grid += ["--normalise", "standard", "--seeds", "1", "--jobs", "1", "--out", tmp_path / "ablation"]
    code, printed, _ = interp("ablate", small_run.folder / "store", *parts, *grid)
    assert code == 0
    assert set(pd.read_csv(tmp_path / "ablation/ablation.csv")["heads"].astype(str)) >= {"all", "4"}

    code, printed, _ = interp("reproduce")
    assert code == 0 and "simulated-demo" in printed
    code, _, complaint = interp("reproduce", "simulated-dem")
    assert code == 2 and "did you mean 'simulated-demo'" in complaint


def test_an_unreadable_image_leaves_a_store_and_exit_code_3(interp, encoder, small_run, tmp_path):
    images = tmp_path / "images"
    for generator in ("real", "simulated-nearest"):
        (images / generator).mkdir(parents=True)
        for key in [
            k for k in small_run.images.keys if small_run.images.table.loc[k, "generator"] == generator
        ][:4]:
            shutil.copy(small_run.images.path(key), images / generator)
    (images / "real" / "empty.jpg").touch()
    code, _, complaint = interp(
        "extract", images, "--encoder", encoder, "--out", tmp_path / "s", "--workers", "0"
    )
    assert code == 3
    assert "1 of 9 images could not be read" in complaint
    assert "real/empty.jpg" in complaint


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["info", "no-such-folder"], "cannot open no-such-folder"),
        (["extract", "no-such.csv", "--out", "s"], "no-such.csv"),
        (["score", "x.png", "--detector", "nowhere"], "holds no detector"),
        (["evaluate", "nowhere", "--out", "o"], "holds no feature store"),
    ],
)
def test_a_wrong_path_is_answered_with_exit_code_2(arguments, said, interp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, complaint = interp(*arguments)
    assert code == 2
    assert said in complaint
    assert "Traceback" not in complaint


def test_wrong_names_are_answered_with_the_nearest(interp, small_run, tmp_path):
    store = small_run.folder / "store"
    parts = ["--train", "simulated-nearst", "--select", "simulated-smooth", "--test", "simulated-palette"]
    code, _, complaint = interp("rank", store, *parts)
    assert code == 2
    assert "did you mean 'simulated-nearest'" in complaint
    code, _, complaint = interp(
        "extract", small_run.images.root, "--where", "genrator=real", "--out", tmp_path / "x"
    )
    assert code == 2
    assert "did you mean 'generator'" in complaint
    code, _, complaint = interp(
        "extract", small_run.images.root, "--equalize", "256-75", "--out", tmp_path / "x"
    )
    assert code == 2
    assert "common:128:75" in complaint


def test_no_arguments_lists_the_commands(interp):
    code, printed, complaint = interp()
    assert code == 2
    assert all(name in printed + complaint for name in ("extract", "rank", "run", "score"))
