"""Kill a run over and over: `killed_runs.py IMAGES FOLDER KILLS`, the program of test_cut_off.py.

Runs are forked from this process, which has imported everything. By turns they kill themselves before or after the
k-th step that changes the disk, and are killed from here after a time. The last line printed is JSON.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from features.test_cut_off import Encoder, ImageSet, extract, same_tree, tiny

STEPS = [(np, "save"), (os, "replace"), (os, "fsync"), (os, "unlink"), (os, "rmdir"), (os, "mkdir")]
STEPS += [(pathlib.Path, name) for name in ("write_bytes", "write_text", "mkdir", "unlink")]


OPENED: list[tuple[ImageSet, Encoder]] = []


def run(out: Path, workers: int, at: int = -1, after: bool = False) -> int:
    """Fork a run that is killed before, or right after, its step number `at`; its process id."""
    child = os.fork()
    if child:
        return child
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    count = 0

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def stepped(*args: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count - 1 == at and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = step(*args, **more)
            if count - 1 >= at >= 0 and after:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return stepped

    try:
        for owner, name in STEPS:
            setattr(owner, name, counted(getattr(owner, name)))
        extract(*OPENED[0], out, batch_size=4, shard_size=4, workers=workers, progress=False)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    if at < 0:
        out.with_name("steps").write_text(str(count))
    os._exit(0)


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def seen(folder: Path) -> tuple[str, ...]:
    """Names of what lies there, without process numbers."""
    return tuple(sorted(re.sub(r"\.\d+$", "", path.name) for path in folder.rglob("*")))


def main(images: Path, folder: Path, kills: int) -> None:
    torch.set_num_threads(1)  # a process that forks has no other threads
    OPENED.append((ImageSet.open(images), tiny()))
    extract(*OPENED[0], folder / "warm", workers=0, progress=False)  # imports all that is imported late
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    assert ended(run(folder / "whole", 0)) == 0
    seconds, steps = time.perf_counter() - start, int((folder / "steps").read_text())
    killed, moments, done = 0, set(), 0
    while killed < kills:
        workers = int(rng.integers(2))
        if killed % 2:
            child = run(folder / "killed", workers, int(rng.integers(80)), bool(rng.integers(2)))
        else:
            child = run(folder / "killed", workers)
            time.sleep(rng.uniform(0, 0.7 * seconds))
            os.kill(child, signal.SIGKILL)
        if (code := ended(child)) == 0:  # nothing was left to cut off: begin another one
            assert same_tree(folder / "whole", folder / "killed")
            (folder / "killed").rename(folder / f"done {done}")
            done += 1
            continue
        assert code == -signal.SIGKILL, code
        killed += 1
        moments.add(seen(folder / "killed"))
    assert ended(run(folder / "killed", 0)) == 0
    identical = same_tree(folder / "whole", folder / "killed")
    print(json.dumps({"killed": killed, "moments": len(moments), "identical": identical, "steps": steps}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
