"""Worker processes live on between calls; a changed working directory leads none of them astray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor

from interp.evaluation.ablation import ablate
from interp.evaluation.arms import default_arms
from interp.evaluation.transfer import evaluate_transfer
from interp.features.extract import extract
from interp.features.store import FeatureStore
from interp.images.image_set import ImageSet
from interp.images.simulated import draw_simulated_set
from interp.images.twins import make_twins


@pytest.fixture(params=[None, 1], ids=["any threads", "one thread"])
def elsewhere(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Two workers that stand in one folder, while this process goes on in another; gives the workers' folder.

    Workers with as many threads as they like, and those with one, which evaluations ask for, are not the same.
    """
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    monkeypatch.chdir(old)
    get_reusable_executor().shutdown(wait=True, kill_workers=True)  # those that other tests left
    options = {} if request.param is None else {"inner_max_num_threads": request.param}
    with parallel_config(backend="loky", **options):
        assert set(Parallel(n_jobs=2)(delayed(Path.cwd)() for _ in range(8))) == {old}
    monkeypatch.chdir(new)
    yield old
    get_reusable_executor().shutdown(wait=True, kill_workers=True)


def test_images_and_twins_are_written_where_this_process_stands(elsewhere, small_run):
    names = ["simulated-nearest", "simulated-smooth"]
    drawn = draw_simulated_set("images", n_per_class=40, generators=names, n_jobs=2, progress=False)
    assert all(drawn.path(key).is_file() for key in drawn.keys)
    photographs = ImageSet.open("images").where("label=real")
    twins = make_twins(photographs, ["nearest"], "twins", side=64, n_jobs=2, progress=False)
    assert twins.table["twin_error"].isna().all() and all(twins.path(key).is_file() for key in twins.keys)
    assert list(elsewhere.iterdir()) == []


def test_splits_are_written_and_gone_on_with_where_this_process_stands(elsewhere, small_run, monkeypatch):
    store, protocol = small_run.result.store, small_run.result.protocol
    arms = [arm for arm in default_arms(store, n_nulls=1) if arm.name in ("embedding", "all_heads")]
    options: dict = {"n_resamples": 20, "n_jobs": 2, "progress": False}
    expected = evaluate_transfer(store, protocol, arms, **options | {"n_jobs": 1}).summary
    (elsewhere / "splits" / "00000").mkdir(
        parents=True
    )  # of another run, which the workers could take for this one's
    found = evaluate_transfer(store, protocol, arms, folder=Path("splits"), **options)
    pd.testing.assert_frame_equal(found.summary, expected)
    assert len(list(Path("splits").glob("[0-9]*"))) == len(protocol)
    assert list((elsewhere / "splits").iterdir()) == [elsewhere / "splits" / "00000"]
    asked: dict = {"heads": ["embedding"], "removal": ["none"], "C": [0.01, 1.0], "seeds": 1}
    ablate(store, protocol, folder="ablation", n_jobs=2, progress=False, **asked)
    assert list(Path("ablation").glob("*.parquet")) and not (elsewhere / "ablation").exists()


def test_a_store_is_read_where_it_was_opened(elsewhere, small_run, monkeypatch):
    from random_clip import random_clip

    photographs = small_run.images.where("label=real")
    some = ImageSet(photographs.table.head(6), photographs.root)
    extract(some, random_clip(), "store", workers=0, progress=False)
    store = FeatureStore("store")
    monkeypatch.chdir(elsewhere)
    assert store.features("embedding").shape[0] == 6 and "store" in repr(store)
