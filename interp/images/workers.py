"""A process that decodes images, whose crash or endless work costs the image it was at and no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import numpy as np

Decoded = tuple[np.ndarray, dict[str, Any]]
"""Pixels of one image, (3, H, W) uint8, and what its file said."""

LARGEST_IDLE_DEATHS = 5
"""A process that ends this often before it begins an image is not ended by an image."""


class DecodingProcess:
    """One process that decodes the batches it is sent, in order; those that are done wait in it.

    A process that dies is replaced, and its batch is begun again. An image at which two processes died gets
    the reason for its row, one that took too long gets it at once.

    Args:
        decode: pixels and facts of the image of an index, or with a second argument the pixels and facts that stand
            for an image that cannot be read for this reason.
        timeout: seconds that one image may take.
    """

    def __init__(self, decode: Callable[..., Decoded], timeout: float):
        self._decode, self._timeout = decode, timeout
        self._sent: deque[Sequence[int]] = deque()
        self._reasons: dict[int, str] = {}
        self._crashed: set[int] = set()
        self._idle_deaths = 0
        self._start()

    def send(self, batch: Sequence[int]) -> None:
        """Hand over a batch of indices."""
        self._sent.append(batch)
        self._tell(batch)

    def receive(self, pixels: np.ndarray) -> list[dict[str, Any]]:
        """Wait for the oldest batch: its facts, and its pixels into an array of shape (n, 3, H, W), uint8."""
        while True:
            try:
                answer = self._pipe.recv()
                if not isinstance(answer, Exception):
                    self._pipe.recv_bytes_into(pixels.reshape(-1).data)
            except (EOFError, ConnectionError):
                self._replace()
                continue
            if isinstance(answer, Exception):
                raise answer
            self._sent.popleft()
            return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _start(self) -> None:
        context = multiprocessing.get_context()
        self._at = context.RawValue("q", -1)
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, self._pipe, self._at, self._decode, self._timeout)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        for batch in self._sent:
            self._tell(batch)

    def _tell(self, batch: Sequence[int]) -> None:
        with suppress(ConnectionError):  # it died; `receive` notices and sends again
            self._pipe.send([(index, self._reasons.get(index)) for index in batch])

    def _replace(self) -> None:
        self.close()
        code, index = self._process.exitcode, self._at.value
        if index < 0:
            self._idle_deaths += 1
            if self._idle_deaths == LARGEST_IDLE_DEATHS:
                raise RuntimeError(
                    f"decoding processes end by themselves ({_how_it_ended(code)}); use workers=0"
                )
        elif code == -signal.SIGALRM:
            self._reasons[index] = f"decoding took longer than {self._timeout:g} s"
        elif index in self._crashed:
            self._reasons[index] = f"the decoder crashed ({_how_it_ended(code)})"
        self._crashed.add(index)
        self._start()


def decoded_in_turn(
    decode: Callable[..., Decoded],
    batches: Sequence[Sequence[int]],
    processes: int,
    timeout: float,
    room: Callable[[int], np.ndarray],
) -> Generator[tuple[np.ndarray, list[dict[str, Any]]]]:
    """Pixels and facts of batch after batch, decoded in several processes; see `DecodingProcess`.

    Args:
        decode, timeout: of each `DecodingProcess`.
        batches: indices of the images of each batch.
        processes: how many.
        room: an array for the pixels of so many images, (n, …) uint8.
    """
    pool = [DecodingProcess(decode, timeout) for _ in range(min(processes, len(batches)))]
    ahead = 4 * len(pool)  # so that the processes have work while a batch is encoded
    try:
        for number, batch in enumerate(batches[:ahead]):
            pool[number % len(pool)].send(batch)
        for number, batch in enumerate(batches):
            process, pixels = pool[number % len(pool)], room(len(batch))
            facts = process.receive(pixels)
            if number + ahead < len(batches):
                process.send(batches[number + ahead])
            yield pixels, facts
    finally:
        for process in pool:
            process.close()


def _serve(
    pipe: Connection, askers: Connection, at: Any, decode: Callable[..., Decoded], timeout: float
) -> None:
    """What the process does until nobody is left to ask it. An alarm that nobody catches ends it at once."""
    askers.close()  # a copy of the other end, which would keep it waiting when the asker is killed
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    answers: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_hand_over, args=(pipe, answers), daemon=True).start()
    while True:
        try:
            batch = pipe.recv()
        except (EOFError, ConnectionError):
            return
        try:
            items = []
            for index, reason in batch:
                at.value = index
                signal.setitimer(signal.ITIMER_REAL, timeout)
                items.append(decode(index, reason))
                signal.setitimer(signal.ITIMER_REAL, 0)
                at.value = -1
            pixels, facts = zip(*items, strict=True)
            answers.put((list(facts), np.stack(pixels)))
        except Exception as error:  # not the image's fault: it is raised where the batch is asked for
            signal.setitimer(signal.ITIMER_REAL, 0)
            at.value = -1
            answers.put((error, None))


def _hand_over(pipe: Connection, answers: SimpleQueue[Any]) -> None:
    """Send what is done, while the next batch is decoded and the asker may be busy."""
    try:
        while True:
            said, pixels = answers.get()
            pipe.send(said)
            if pixels is not None:
                pipe.send_bytes(pixels.data.cast("B"))
    finally:  # nobody asks any more, or an error cannot be told: the asker notices that it got no answer
        os._exit(1)


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
