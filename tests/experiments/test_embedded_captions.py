"""Captions of the small CLIP are true of the images they are matched to, and what trains on them keeps its promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from experiments.embedded_captions import (
    CLEAN,
    FIELD_NAMES,
    SUPER_CATEGORIES,
    SUPER_WORDS,
    caption,
    field_group,
    held_out,
    members,
    plain_captions,
    said_group,
    super_group,
    super_table,
    synonyms,
)
from experiments.embedded_data import name_shares, teacher_names
from experiments.embedded_losses import multi_positive
from experiments.embedded_model import build_model, build_tokenizer, export
from experiments.embedded_schedule import Schedule
from experiments.embedded_views import degrade, draw_fields, unsure_fields

NAMES = tuple(sorted({name for word in SUPER_WORDS for name in members(word)}))
TABLE, OUT = super_table(NAMES), held_out(NAMES)


def batch(seed: int, n: int = 48) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    """Labels, degradations made, degradations that cannot be denied."""
    rng = np.random.default_rng(seed)
    has = draw_fields(n, 0.6, rng)
    return rng.integers(0, 12, n), has, unsure_fields(has, rng.random(n) < 0.3), rng


def test_every_class_named_under_a_super_word_is_in_the_data(shared):
    table = pytest.importorskip("pyarrow.parquet").read_table(
        shared / "tiny-imagenet" / "val.parquet", columns=["words"]
    )
    first = {synonyms(words)[0] for words in table["words"].to_pylist()}
    assert set(NAMES) <= first
    assert first - set(NAMES) == {"brass", "spider web", "teddy", "comic book", "acorn"}


def test_a_starred_word_brings_all_its_members():
    for word, listed in SUPER_CATEGORIES.items():
        for name in listed.split("|"):
            assert not name.startswith("*") or members(name[1:]) < members(word)


def test_fifty_classes_are_held_out_and_every_frequent_word_keeps_both_kinds():
    assert OUT.sum() == 50
    assert (held_out(NAMES) == OUT).all()
    frequent = TABLE.sum(0) >= 5
    assert TABLE[OUT][:, frequent].any(0).all()
    assert (TABLE[~OUT].sum(0) > TABLE[OUT].sum(0))[frequent].all()


def test_articles_follow_the_first_letter():
    assert caption("a photo of {a}", "ox") == "a photo of an ox"
    assert caption("a {said} photo of {a}", "dog", "upscaled") == "an upscaled photo of a dog"
    assert caption("{a}", "dog") == "a dog"


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_super_words_are_never_judged_on_held_out_classes(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(NAMES), 40)
    group = super_group(labels, TABLE, OUT, rng)
    assert not group.known[:, OUT[labels]].any()
    assert (group.true == (TABLE[labels].T & ~OUT[labels])).all()


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_a_caption_is_true_of_its_class_with_at_least_what_it_says(seed):
    labels, has, unsure, rng = batch(seed)
    group = said_group(labels, NAMES, has, unsure, rng)
    assert not (group.true & ~group.known).any()
    for text, true, known in zip(group.texts, group.true, group.known, strict=True):
        classes = {c for c in range(12) if any(name in text for name in synonyms(NAMES[c]))}
        assert set(labels[true]) <= classes
        assert known[[label not in classes for label in labels]].all()
    assert group.true.any(1).sum() >= 32  # each image drawn has its own caption
    assert not group.true.all(1).any()


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_an_image_is_clean_or_degraded_and_what_was_done_is_known(seed):
    _, has, unsure, rng = batch(seed)
    assert (has[:, CLEAN] == ~has[:, :CLEAN].any(1)).all()
    group = field_group(has, unsure, rng)
    assert (group.true == has.T).all()
    assert group.known[:CLEAN][group.true[:CLEAN]].all()
    assert not (has[:, FIELD_NAMES.index("dark")] & has[:, FIELD_NAMES.index("bright")]).any()


def test_degrading_touches_only_the_rows_that_are_said_to_be():
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.uniform(0.2, 0.8, (len(FIELD_NAMES), 3, 32, 32))).float()
    done = degrade(images, np.eye(len(FIELD_NAMES), dtype=bool), rng)
    moved = (done - images).abs().mean((1, 2, 3)).numpy()
    assert moved[CLEAN] == 0
    assert (np.delete(moved, CLEAN) > 0.01).all()
    names = dict(zip(FIELD_NAMES, done, strict=True))
    roughness = {name: float(image.diff(dim=-1).abs().mean()) for name, image in names.items()}
    assert roughness["blurry"] < roughness["clean"]
    assert names["dark"].mean() < images.mean() < names["bright"].mean()
    assert (names["grey"][0] == names["grey"][2]).all()


def test_with_one_true_column_the_loss_is_cross_entropy():
    logits = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 3, 8, 1, 1, 5])
    true = F.one_hot(target, 9).bool()
    everything = torch.ones_like(true)
    torch.testing.assert_close(multi_positive(logits, true, everything), F.cross_entropy(logits, target))
    known = everything.clone()
    known[:, 7] = False
    without = torch.cat([logits[:, :7], logits[:, 8:]], 1)
    want = F.cross_entropy(without, target - (target > 7).long())
    torch.testing.assert_close(multi_positive(logits, true, known), want)


@settings(max_examples=10)
@given(st.integers(0, 1000), st.floats(0.2, 3.0))
def test_a_plan_ends_in_its_time_with_no_rate_left(seed, slowness):
    rng, plan = np.random.default_rng(seed), Schedule(longest=300, limit=200.0, peak=1.0, warm_up=20)
    cost = {32: 0.5, 48: 1.0, 64: 1.7}
    while not plan.finished:
        plan.advance(cost[plan.side] * slowness * rng.uniform(0.7, 1.4))
        if plan.step % 5 == 0:
            plan.replan()
    assert plan.seconds < 225 and plan.step <= 300
    assert plan.step == 300 or plan.seconds > 160
    assert plan.rate < 1e-2 and plan.side == 64


def test_a_resumed_plan_is_the_same_and_annealing_ends_it():
    plan = Schedule(longest=1000, limit=float("inf"), peak=1.0)
    for _ in range(400):
        plan.advance(1.0)
    again = replace(Schedule(longest=1000, limit=float("inf"), peak=1.0), **plan.progress())
    assert again == plan
    rate = plan.rate
    plan.begin_anneal()
    assert plan.side == 64 and plan.rate == pytest.approx(rate)
    while not plan.finished:
        plan.advance(3.6)
    assert plan.step < 1000 and plan.seconds - 400 < 310 and plan.rate == 0


def test_what_is_exported_is_what_was_trained(tmp_path):
    tokenizer = build_tokenizer(NAMES, tmp_path / "tokenizer")
    model = build_model(tokenizer).eval()
    export(model, model.state_dict(), tokenizer, tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 16e6
    loaded = CLIPModel.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    reader, processor = (
        AutoTokenizer.from_pretrained(tmp_path / "model"),
        AutoImageProcessor.from_pretrained(tmp_path / "model"),
    )
    texts = [*plain_captions(NAMES)[:3], "a photo"]
    tokens = reader(texts, padding=True, return_tensors="pt")
    assert tokens.input_ids.tolist() == tokenizer(texts, padding=True).input_ids
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pixels = processor(images=[photo], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        found, want = loaded(**tokens, pixel_values=pixels), model(**tokens, pixel_values=pixels)
        alone = loaded.text_model(**reader(["a photo"], return_tensors="pt")).pooler_output
        padded = loaded.text_model(**tokens).pooler_output[3:]
    torch.testing.assert_close(found.image_embeds, want.image_embeds, atol=2e-3, rtol=0)
    torch.testing.assert_close(found.text_embeds, want.text_embeds, atol=2e-3, rtol=0)
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-4)


def test_an_image_is_called_by_its_label_and_by_what_the_teacher_makes_of_the_names(tmp_path):
    (tmp_path / "config.json").write_text('{"id2label": {"0": "cat", "1": "dog", "2": "ship"}}')
    logits = np.log(np.array([[0.6, 0.2, 0.2], [0.1, 0.1, 0.8]]))
    told = teacher_names(tmp_path)
    found = name_shares(logits, np.array([1, 2]), ("cat", "dog", "yak"), told)
    np.testing.assert_allclose(found, [[0.375, 0.625, 0], [0.25, 0.25, 0.5]], rtol=1e-5)
    found = name_shares(logits, np.array([1, 0]), ("yak", "emu"), told)
    np.testing.assert_array_equal(found, [[0, 1], [1, 0]])


def test_a_plan_that_grows_does_not_go_back_to_smaller_pictures():
    plan, sides = Schedule(longest=10_000, limit=600.0, peak=1.0, warm_up=20), []
    while not plan.finished:
        slowness = 0.2 if 48 in sides else 2.0  # the machine becomes free when pictures have grown
        sides.append(plan.side)
        plan.advance({32: 1.0, 48: 2.1, 64: 3.8}[plan.side] * slowness)
        plan.replan()
    assert sides == sorted(sides) and set(sides) == {32, 48, 64}
