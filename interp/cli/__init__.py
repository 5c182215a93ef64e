"""The command line, `interp COMMAND`; thin: it reads arguments, calls public names, and sets the exit code."""

from __future__ import annotations

import os
import sys

import tyro

from interp.cli import (
    ablation,
    atlas,
    audit,
    detectors,
    explaining,
    images,
    laundering,
    pairs,
    placebos,
    reproduction,
    training,
    tuning,
)
from interp.errors import InputError

COMMANDS = (
    images.check,
    audit.audit,
    images.extract,
    images.info,
    pairs.pairs,
    detectors.rank,
    detectors.evaluate,
    detectors.run,
    training.train,
    tuning.tune,
    detectors.score,
    explaining.explain,
    explaining.words,
    atlas.atlas,
    ablation.ablate,
    laundering.launder,
    laundering.robustness,
    placebos.placebos,
    reproduction.reproduce,
    detectors.demo,
)


def main() -> None:
    """Entry point of the `interp` command."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that wait do not take cores from decoding
    app = tyro.extras.SubcommandApp()
    for command in COMMANDS:
        app.command(command)
    try:
        code = app.cli(prog="interp", description="Which heads of an encoder carry evidence that transfers.")
        sys.stdout.flush()
    except InputError as error:
        print(f"interp: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interp: stopped; the same command goes on where this one ended", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # whoever read the screen, such as `head`, went away; files were written before
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)
