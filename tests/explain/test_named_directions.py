"""Without a text tower: classifier rows are directions of the embedding, and extremes are the right images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import make
from transformers import AutoModelForImageClassification, ViTConfig, ViTForImageClassification

from interp.encoders.encoder import Encoder
from interp.encoders.loading import load_encoder
from interp.errors import InputError
from interp.explain.directions import nearest_texts
from interp.explain.named_directions import class_rows, extremes
from interp.images.preprocess import Preprocessing


def test_rows_read_the_embedding_as_the_classifier_does():
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    names = {0: "cat", 1: "dog", 2: "owl"}
    model = ViTForImageClassification(ViTConfig(**shape, image_size=32, patch_size=16, id2label=names)).eval()
    pixels = torch.randn(4, 3, 32, 32)
    logits = model(pixels).logits.detach().double().numpy() - model.classifier.bias.detach().double().numpy()
    embedding = Encoder(model, Preprocessing.clip(32), name="tiny").record(pixels).embedding.double().numpy()
    rows = class_rows(model)
    weight = model.classifier.weight.detach().double().numpy()
    lengths = np.linalg.norm(weight - weight.mean(0), axis=1)
    # Softmax does not change when every logit loses their mean, nor do rows that lost theirs.
    np.testing.assert_allclose(
        embedding @ rows.embeddings.T * lengths, logits - logits.mean(1, keepdims=True), atol=1e-5
    )
    assert rows.phrases == ("cat", "dog", "owl")


def test_a_class_row_is_nearest_to_itself_on_real_weights(shared):
    folder = shared / "models" / "deit-tiny"
    model = AutoModelForImageClassification.from_pretrained(folder)
    rows = class_rows(model)
    assert len(rows.phrases) == 1000 and rows.embeddings.shape[1] == load_encoder(folder, device="cpu").width
    weight = model.classifier.weight.detach().double().numpy()
    found = nearest_texts(weight[1] - weight.mean(0), rows.embeddings, rows.phrases, k=1, nulls=20)
    assert found["phrase"][0].startswith("goldfish") and found["p"][0] == pytest.approx(1 / 21)


def test_models_without_named_rows_are_refused():
    with pytest.raises(InputError, match="no Linear `classifier`"):
        class_rows(make("vit"))
    model = make("vit-classifier")
    model.classifier = torch.nn.Linear(96, 2)
    with pytest.raises(InputError, match="more than the class token's 48"):
        class_rows(model)
    model.classifier = torch.nn.Linear(48, 3)
    with pytest.raises(InputError, match="names 2 classes of 3"):
        class_rows(model)


def test_extremes_are_the_highest_and_lowest_usable_images(small_store):
    scores = small_store.embedding() @ np.random.default_rng(0).normal(size=32)
    table = extremes(small_store, scores, k=4)
    usable = np.flatnonzero(small_store.usable)
    assert len(usable) == 23
    order = usable[np.argsort(scores[usable])]
    expected = small_store.rows.index[np.r_[order[::-1][:4], order[:4]]]
    assert list(table.index) == list(expected)
    assert table["end"].to_list() == ["+"] * 4 + ["-"] * 4 and table["rank"].to_list() == [1, 2, 3, 4] * 2
    np.testing.assert_array_equal(table["score"], scores[small_store.rows.index.get_indexer(table.index)])
    np.testing.assert_array_equal(table["label"], small_store.rows["label"].loc[table.index])


def test_an_image_stands_at_one_end_only(small_store):
    table = extremes(small_store, np.arange(len(small_store)), k=100)
    assert table.index.is_unique and len(table) == 23


def test_wrong_scores_are_refused(small_store):
    with pytest.raises(InputError, match=r"scores must be \(24,\)"):
        extremes(small_store, np.zeros(3))
    with pytest.raises(InputError, match="k 1 or more"):
        extremes(small_store, np.zeros(24), k=0)
