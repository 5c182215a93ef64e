"""Calls that crash, hang or raise cost themselves, and nothing beside them."""

from __future__ import annotations

import os
import signal
import time

import pytest

from interp.images.isolated import map_isolated


def fickle(given: int | str) -> int:
    if given == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if given == "leave":
        os._exit(7)
    if given == "hang":
        time.sleep(60)
    if given == "raise":
        raise ValueError("no good")
    return int(given) ** 2


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_every_call_ends_whatever_the_others_do(n_jobs: int) -> None:
    inputs = [1, "crash", 2, "hang", 3, "raise", "leave", "crash", 4]
    began = time.monotonic()
    calls = map_isolated(fickle, inputs, n_jobs=n_jobs, timeout=0.7)
    answers = {position: (result, reason) for position, result, reason in calls}
    assert time.monotonic() - began < 30
    assert sorted(answers) == list(range(len(inputs)))
    for position, given in enumerate(inputs):
        result, reason = answers[position]
        assert result == (given**2 if isinstance(given, int) else None)
        assert (reason == "") == isinstance(given, int)
    assert "exit code -9" in answers[1][1] and "exit code 7" in answers[6][1]
    assert answers[3][1] == "decoding took longer than 0.7 s"
    assert answers[5][1] == "ValueError: no good"


def test_nothing_to_do_and_leaving_early_are_fine() -> None:
    assert list(map_isolated(fickle, [], n_jobs=2, timeout=1)) == []
    calls = map_isolated(fickle, [1] * 50, n_jobs=2, timeout=5)
    assert next(calls)[1] == 1
    calls.close()
