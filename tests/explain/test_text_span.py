"""TextSpan finds planted texts in order, reconstructs exactly at full rank, and is silent where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interp.errors import InputError
from interp.explain.text_span import text_span

SIZES = (3.0, 2.4, 1.9, 1.5, 1.2)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def plant(seed, n=600, width=64, m=500, noise=0.05, shared=True):
    """A head that writes five of m texts in a narrow cone, with falling variances, a mean and noise.

    Unless `shared`, it writes of each text only what sets it apart from the mean of all.
    """
    rng = np.random.default_rng(seed)
    gap = 3 * unit(rng.normal(size=(1, width)))
    texts = unit(unit(rng.normal(size=(m, width))) + gap)
    planted = rng.choice(m, len(SIZES), replace=False)
    written = texts if shared else unit(texts - texts.mean(0))
    head = rng.normal(size=(n, len(SIZES))) * SIZES @ written[planted] + noise * rng.normal(size=(n, width))
    return head + rng.normal(size=width), texts, planted


def literally(head, texts, k):
    """Algorithm 1 of the paper, step by step, on the head's full matrix."""
    C = head - head.mean(0)
    _, sizes, right = np.linalg.svd(head, full_matrices=False)
    basis = right[sizes > 1e-9 * sizes[0]]
    R = texts @ basis.T @ basis
    chosen, rebuilt = [], np.zeros_like(C)
    for _ in range(k):
        best = int((C @ R.T).var(0).argmax())
        row = R[best] / np.linalg.norm(R[best])
        rebuilt += np.outer(C @ row, row)
        C, R = C - np.outer(C @ row, row), R - np.outer(R @ row, row)
        chosen.append(best)
    return chosen, head.mean(0) + rebuilt


def test_planted_texts_come_back_in_order_on_nearly_every_seed():
    def share(shared: bool, center: bool) -> float:
        drawn = (plant(seed, shared=shared) for seed in range(50))
        return np.mean(
            [(text_span(h, t, 5, center=center).chosen == planted).all() for h, t, planted in drawn]
        )

    assert share(shared=False, center=True) >= 0.95
    assert share(shared=True, center=True) >= 0.95
    assert share(shared=True, center=False) < 0.8  # what all texts share ranks them where it is left in


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 12), st.integers(1, 60))
def test_it_is_algorithm_1(seed, n, rank, m):
    rng = np.random.default_rng(seed)
    head = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, 16)) + 1.0
    texts = unit(rng.normal(size=(m, 16)))
    k = min(3, m, rank, n - 1)
    span = text_span(head, texts, k, center=False)
    chosen, rebuilt = literally(head, texts, k)
    assert span.chosen.tolist() == chosen
    np.testing.assert_allclose(span.reconstruct(head), rebuilt, atol=1e-7)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 60), st.integers(1, 20))
def test_texts_that_span_the_head_reconstruct_it_exactly(seed, n, width):
    rng = np.random.default_rng(seed)
    head = rng.normal(size=(n, width)) * rng.uniform(0.1, 2, width)
    span = text_span(head, unit(rng.normal(size=(3 * width, width))), k=width, center=False)
    np.testing.assert_allclose(span.reconstruct(head), head, atol=1e-7)
    assert span.explained.sum() == pytest.approx(1) and (span.explained > 0).all()
    np.testing.assert_allclose(span.directions @ span.directions.T, np.eye(len(span.chosen)), atol=1e-9)


def test_shares_are_the_variance_that_the_reconstruction_keeps():
    head, texts, _ = plant(3)
    span, total = text_span(head, texts, 8), head.var(0).sum()
    for k in range(1, 9):
        kept = span.reconstruct(head, k)
        assert kept.var(0).sum() / total == pytest.approx(span.explained[:k].sum())
        assert (head - kept).var(0).sum() / total == pytest.approx(1 - span.explained[:k].sum())


def test_a_text_outside_the_heads_span_is_not_chosen():
    texts = np.eye(6)
    head = np.random.default_rng(0).normal(size=(40, 3)) @ texts[[0, 2, 4]]
    assert set(text_span(head, texts, 6, center=False).chosen) == {0, 2, 4}
    tilted = unit(np.vstack([texts[:1] + 0.2 * texts[1:2], texts[:1] + 3 * texts[1:2]]))
    assert text_span(head, tilted, 1, center=False).chosen.tolist() == [
        0
    ]  # the other lies mostly where nothing is written


def test_planted_texts_beat_rotated_ones_and_others_do_not():
    head, texts, _ = plant(1, shared=False)
    span = text_span(head, texts, 5, nulls=20)
    assert (span.explained.cumsum() > span.null).all()
    above = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        head = rng.normal(size=(100, 64)) @ (rng.normal(size=(64, 64)) * np.linspace(2, 0.2, 64)[:, None])
        span = text_span(head, texts[:200], 3, nulls=40, random_state=seed)
        above.append(span.explained.sum() > span.null[-1])
    assert sum(above) <= 4  # 1 expected; more than 4 once in 400 times


def test_what_all_texts_share_beats_no_null():
    """A head that writes along the texts' mean serves every pool with that mean as well."""
    rng = np.random.default_rng(0)
    _, texts, _ = plant(0)
    shared = texts.mean(0)
    head = rng.normal(size=(200, 1)) * 5 * shared + 0.1 * rng.normal(size=(200, 64))
    span = text_span(head, texts, 1, center=False, nulls=40)
    assert span.explained[0] > 0.8 and span.null[0] > 0.9 * span.explained[0]


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1 / 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_head_that_writes_a_constant_has_no_texts(value, dtype):
    head = np.full((7, 4), value, dtype)
    span = text_span(head, np.eye(4), 3)
    assert len(span.chosen) == 0 and span.directions.shape == (0, 4)
    np.testing.assert_allclose(span.reconstruct(head), head, atol=1e-6)


@pytest.mark.parametrize(
    ("head", "texts", "more", "words"),
    [
        (np.ones((5, 4)), np.eye(3), {}, "own checkpoint"),
        (np.ones((5, 4)), np.eye(4), {"fold": np.ones((3, 4))}, r"fold must be \(4, 4\)"),
        (np.ones((1, 4)), np.eye(4), {}, "two images"),
        (np.ones((5, 4)), np.eye(4), {"k": 0}, "k=0"),
        (np.full((5, 4), np.nan), np.eye(4), {}, "5 of 5 images"),
    ],
)
def test_what_does_not_fit_is_refused(head, texts, more, words):
    with pytest.raises(InputError, match=words):
        text_span(head, texts, **more)
