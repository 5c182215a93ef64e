"""A function over many inputs, in processes that may crash or hang without taking the run with them."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    position: int = 0
    deadline: float = 0.0


def map_isolated(
    function: Callable[[Any], Any], inputs: Sequence[Any], *, n_jobs: int, timeout: float
) -> Generator[tuple[int, Any, str], None, None]:
    """Call a function on every input; a call that kills or outlasts its process costs that one input.

    Args:
        function: importable by name, and without side effects: its process may be killed.
        inputs: what to call it on, one at a time.
        n_jobs: processes.
        timeout: seconds for one call; its process is then killed, and another one started.

    Yields:
        Position, result and "" as calls end, in no fixed order; or position, None and the reason.

    >>> sorted(map_isolated(abs, [-1, 2], n_jobs=1, timeout=10))
    [(0, 1, ''), (1, 2, '')]
    """
    todo = deque(range(len(inputs)))
    busy: list[_Worker] = []
    try:
        while todo or busy:
            while todo and len(busy) < n_jobs:
                busy.append(_start(function))
                _give(busy[-1], todo.popleft(), inputs, timeout)
            soonest = min(worker.deadline for worker in busy)
            ready = wait([worker.pipe for worker in busy], max(0.0, soonest - time.monotonic()))
            for worker in list(busy):
                late = worker.deadline <= time.monotonic()
                if worker.pipe not in ready and not late:
                    continue
                position, result, reason = worker.position, None, f"decoding took longer than {timeout:g} s"
                if worker.pipe in ready:
                    try:
                        result, reason = worker.pipe.recv()
                    except EOFError:
                        worker.process.join()
                        reason = f"the decoder crashed (exit code {worker.process.exitcode})"
                        late = True
                    else:
                        late = False
                if late or not todo:
                    busy.remove(worker)
                    _stop(worker)
                else:
                    _give(worker, todo.popleft(), inputs, timeout)
                yield position, result, reason
    finally:
        for worker in busy:
            _stop(worker)


def _start(function: Callable[[Any], Any]) -> _Worker:
    # A fork spares scripts the `if __name__ == "__main__"` that other ways to start a process need.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(function, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _give(worker: _Worker, position: int, inputs: Sequence[Any], timeout: float) -> None:
    worker.position, worker.deadline = position, time.monotonic() + timeout
    worker.pipe.send(inputs[position])


def _stop(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()


def _work(function: Callable[[Any], Any], pipe: Connection) -> None:
    while True:
        try:
            given = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = function(given), ""
        except KeyboardInterrupt:
            return
        except Exception as error:  # what the function raises is this input's reason, whatever it is
            answer = None, f"{type(error).__name__}: {error}"
        pipe.send(answer)
