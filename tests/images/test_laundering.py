"""Chains of launderings: their text, what each image draws, and that every pixel can be made again."""

from __future__ import annotations

import contextlib
import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joblib import Parallel, delayed
from PIL import Image

from interp.errors import InputError
from interp.images.launder_codecs import Jpeg
from interp.images.launder_parameters import Between, OneOf
from interp.images.launder_pixels import Blur
from interp.images.launder_step import Sometimes, Step
from interp.images.laundering import STEPS, Laundering

DRAWN = [name for name in STEPS if name != "vae"]


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def numbers(about: dict) -> st.SearchStrategy:
    """Values of one field, fixed, as a range, or as a choice."""
    if "choices" in about:
        return st.sampled_from(about["choices"])
    low, high = about["low"], about["high"]
    if about["odd"]:
        one = st.integers(0, int(high - low) // 2).map(lambda i: int(low) + 2 * i)
    elif about["whole"]:
        one = st.integers(int(low), int(high))
    else:
        one = st.floats(low, high)
    pair = st.tuples(one, one).filter(lambda p: p[0] < p[1]).map(lambda p: Between(*p))
    few = st.lists(one, min_size=2, max_size=3).map(lambda values: OneOf(tuple(values)))
    return one | few if about["odd"] else one | pair | few


@st.composite
def steps(draw: st.DrawFn) -> Step:
    kind = STEPS[draw(st.sampled_from(DRAWN))]
    return kind(**{field.name: draw(numbers(dict(field.metadata))) for field in dataclasses.fields(kind)})


CHANCES = st.floats(0.01, 0.99)
CHAINS = st.lists(
    steps() | st.builds(Sometimes, st.lists(steps(), min_size=1, max_size=2).map(tuple), CHANCES), max_size=3
).map(lambda found: Laundering(tuple(found)))


@given(CHAINS)
def test_text_is_read_back(chain: Laundering) -> None:
    assert Laundering.parse(str(chain)) == chain
    assert Laundering.parse(f" {str(chain).upper().replace('+', ' + ')} ") == chain


@given(CHAINS, st.text(max_size=8), st.integers(0, 3))
def test_drawn_numbers_lie_within_their_ranges_and_are_read_back(
    chain: Laundering, key: str, random_state: int
) -> None:
    drawn = chain.drawn(key, random_state)
    assert drawn == chain.drawn(key, random_state)
    assert Laundering.parse(str(drawn)) == drawn
    for step in drawn.steps:
        assert isinstance(step, Step)
        for field in dataclasses.fields(step):
            assert not isinstance(getattr(step, field.name), Between | OneOf)
    assert drawn.drawn("another") == drawn  # nothing is left to draw


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3), (17, 9)])
def test_no_size_is_too_small(name: str, size: tuple[int, int]) -> None:
    image = scene(*size)
    result = Laundering.parse(STEPS[name].example).apply(image, "key")
    assert result.mode == "RGB" and min(result.size) >= 1 and result.info == {}


@given(steps(), st.integers(1, 24), st.integers(1, 24))
def test_every_step_takes_every_image_and_does_it_again(step: Step, width: int, height: int) -> None:
    chain, image = Laundering((step,)), scene(width, height)
    before = image.tobytes()
    result = chain.apply(image, "key")
    assert result.mode == "RGB" and np.asarray(result).dtype == np.uint8
    assert result.tobytes() == chain.apply(image, "key").tobytes()
    assert image.tobytes() == before


TEXTS = [STEPS[name].example for name in DRAWN]
TEXTS += [
    "resize:0.5-2:lanczos+noise:2-9@0.5+jpeg:30-100",
    "(blur:0-3+webp:10|90)@0.5",
    "cropback:0.6:0-1:0-1",
]


def test_another_process_and_another_order_make_the_same_pixels() -> None:
    images = {f"folder/{n}.png": scene(40 + n, 33, n) for n in range(3)}
    jobs = [(Laundering.parse(text), key) for text in TEXTS for key in images]
    here = [chain.apply(images[key], key).tobytes() for chain, key in jobs]
    order = np.random.default_rng(0).permutation(len(jobs))
    there = Parallel(n_jobs=2, backend="loky")(
        delayed(jobs[i][0].apply)(images[jobs[i][1]], jobs[i][1]) for i in order
    )
    assert [here[i] for i in order] == [image.tobytes() for image in there]


@pytest.mark.parametrize(
    "text", ["noise:5", "shot:60", "printscan:1", "social:vipcup", "crop:0.5:0-1:0-1", "jpeg:10-90"]
)
def test_key_and_random_state_decide(text: str) -> None:
    chain, image = Laundering.parse(text), scene(64, 64)
    draws = {chain.apply(image, key, state).tobytes() for key in "ab" for state in (0, 1)}
    assert len(draws) == 4


def test_noise_of_two_images_is_independent() -> None:
    grey = Image.new("RGB", (128, 128), (128, 128, 128))
    first, second = (np.asarray(Laundering.parse("noise:9").apply(grey, key)) - 128.0 for key in "ab")
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4 / math.sqrt(first.size)


def test_draws_are_uniform_and_a_chance_is_kept() -> None:
    chain = Laundering.parse("jpeg:1-100+blur:1@0.3+noise:2|4")
    found = [str(chain.drawn(str(key))).split("+") for key in range(2000)]
    qualities = np.array([int(words[0].split(":")[1]) for words in found])
    assert qualities.min() == 1 and qualities.max() == 100
    assert abs(qualities.mean() - 50.5) < 4 * 28.9 / math.sqrt(2000)
    assert abs(np.mean(["blur:1" in words for words in found]) - 0.3) < 4 * math.sqrt(0.21 / 2000)
    assert abs(np.mean(["noise:2" in words for words in found]) - 0.5) < 4 * math.sqrt(0.25 / 2000)


def test_numbers_of_any_type_mean_the_same() -> None:
    """Whole parameters become int, which Pillow insists on; ranges of fractions stay ranges of fractions."""
    image = scene(16, 16)
    for quality in (60.0, np.int64(60), np.float32(60)):
        assert Jpeg(quality) == Jpeg(60) and str(Jpeg(quality)) == "jpeg:60"
        Laundering((Jpeg(quality),)).apply(image, "key")
    Laundering((Jpeg(OneOf((60.0, 61.0))),)).apply(image, "key")
    drawn = {str(Laundering((Blur(Between(0, 1)),)).drawn(str(key))) for key in range(20)}
    assert len(drawn) > 15
    for wrong in (True, "60", None, 60.5, float("nan")):
        with pytest.raises(InputError, match="whole number from 1 to 100"):
            Jpeg(wrong)  # pyright: ignore[reportArgumentType]


def test_steps_in_parentheses_are_taken_together() -> None:
    chain = Laundering.parse("(blur:1+noise:2)@0.5")
    assert {str(chain.drawn(str(key))) for key in range(50)} == {"none", "blur:1+noise:2"}


@pytest.mark.parametrize("text", ["jpeg:30-90+cropback:0.5:0-1:0-1@0.5", "screenshot", "social:vipcup"])
def test_what_was_drawn_is_what_was_done(text: str) -> None:
    """Without noise, the drawn chain makes the same pixels under any key."""
    chain, image = Laundering.parse(text), scene(70, 50)
    for key in ("a", "b", "c"):
        assert chain.drawn(key).apply(image, "another").tobytes() == chain.apply(image, key).tobytes()


def test_a_chain_is_its_steps_one_after_another() -> None:
    image = scene(60, 44)
    once = Laundering.parse("resize:0.5:lanczos").apply(image, "key")
    twice = Laundering.parse("jpeg:60").apply(once, "key")
    assert Laundering.parse("resize:0.5:lanczos+jpeg:60").apply(image, "key").tobytes() == twice.tobytes()


def test_none_is_the_empty_chain() -> None:
    image = scene(9, 9)
    assert Laundering.parse(" None ") == Laundering() and str(Laundering()) == "none"
    assert Laundering().apply(image, "key").tobytes() == image.tobytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jpg:75", "did you mean 'jpeg'"),
        ("gausian:2", "unknown laundering step"),
        ("nois:5", "did you mean 'noise'"),
        ("", "unknown laundering step ''"),
        ("jpeg:75+", "unknown laundering step ''"),
        ("jpeg", r"jpeg needs quality; write jpeg:QUALITY\[:420\|422\|444\]"),
        ("jpeg:0", "quality is a whole number from 1 to 100; got 0"),
        ("jpeg:101", "quality is a whole number from 1 to 100; got 101"),
        ("jpeg:7.5", "whole number"),
        ("jpeg:90-30", "is a range LOW-HIGH with LOW below HIGH; got 90-30"),
        ("jpeg:30-101", "from 1 to 100; got 30-101"),
        ("jpeg:good", "cannot read 'good' in 'jpeg:good'"),
        ("jpeg:75:411", "cannot read '411'"),
        ("jpeg:75:444:420", "cannot read '420'"),
        ("resize:0.5:cubic", "for example 'resize:0.5:lanczos'"),
        ("resize:-1", "cannot read '-1'"),
        ("blur:nan", "cannot read 'nan'"),
        ("noise:1e3", "cannot read '1e3'"),
        ("kernelblur:4", "an odd number from 1 to 99; got 4"),
        ("kernelblur:3-7", "one odd number, or a few"),
        ("messenger:signal", "messenger:whatsapp|telegram"),
        ("jpeg:75@", "cannot read the chance ''"),
        ("jpeg:75@2", "chance between 0 and 1; got 2.0"),
        ("jpeg:75@0.1-0.5", "cannot read the chance"),
        ("(jpeg:75", "unknown laundering step"),
        ("vae:", "vae needs the name of an autoencoder"),
    ],
)
def test_nonsense_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Laundering.parse(text)


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        assert Laundering.parse(str(Laundering.parse(text))) == Laundering.parse(text)


def test_other_modes_are_refused_and_metadata_goes() -> None:
    with pytest.raises(InputError, match="got mode 'L'"):
        Laundering.parse("jpeg:75").apply(Image.new("L", (8, 8)), "key")
    image = scene(32, 32)
    plain = Laundering.parse("jpeg:75").apply(image, "key")
    image.info = {"comment": b"x" * 100_000, "icc_profile": b"y" * 100, "exif": b"z" * 100}
    assert Laundering.parse("jpeg:75").apply(image, "key").tobytes() == plain.tobytes()
    assert Laundering().apply(image, "key").info == {} and "comment" in image.info
