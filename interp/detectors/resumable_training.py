"""Training of a torch network that goes on where it was killed, with mixed precision and its costs counted."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interp.errors import InputError, unknown_name
from interp.features.lock import only_writer
from interp.features.provenance import open_results
from interp.features.shards import whole_or_absent
from interp.images.seeds import derive_seed

CHECKPOINT = "checkpoint.pt"
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Costs:
    """What a training took.

    Attributes:
        seconds_per_1000: seconds for 1,000 images, forwards and backwards; loading and checkpoints not counted.
        peak_mib: MiB at the peak: allocated on a GPU, resident in the whole process on a CPU.
        device: where it ran.
        images: counted with repetition.
        trainable: numbers that learn.
    """

    seconds_per_1000: float
    peak_mib: float
    device: str
    images: int
    trainable: int


class ResumableTraining:
    """Steps of one optimiser on one network; what a step draws depends on the seed and the step alone.

    Weights stay float32 whatever the precision of the pass. Under `accelerate launch` every process calls the same
    code with its share of each batch, and the first one writes.

    Args:
        network: its parameters with `requires_grad` learn.
        optimizer: over these.
        scheduler: of its rate; `None` leaves the rate as it is.
        precision: float32, bfloat16 or float16 (GPU only), of the pass.
        clip: largest norm of the gradient.
        device: cpu, cuda, mps; by default what `accelerate` finds.
        folder: of the checkpoint; None keeps none.
        settings: what a checkpoint belongs to; one of other settings is refused.
        every: steps between checkpoints.
        random_state: seed of what steps draw.

    Raises:
        InputError: `accelerate` is missing, an unknown precision, or one that the device lacks.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: Any = None,
        *,
        precision: str = "float32",
        clip: float = 1.0,
        device: str | None = None,
        folder: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        every: int = 100,
        random_state: int = 0,
    ):
        if precision not in PRECISIONS:
            raise unknown_name("precision", precision, PRECISIONS)
        self.accelerator = _accelerator(device)
        self.device = self.accelerator.device
        if precision == "float16" and self.device.type == "cpu":
            raise InputError("float16 needs a GPU; give precision='bfloat16' or 'float32'")
        self.network, self.optimizer, self.scheduler = network.to(self.device), optimizer, scheduler
        self.dtype, self.clip, self.every, self.random_state = (
            PRECISIONS[precision],
            clip,
            every,
            random_state,
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.folder, self.settings = None if folder is None else Path(folder), dict(settings or {})
        self.step, self.images, self.seconds = 0, 0, 0.0
        self.best: float | None = None
        self.best_weights: dict[str, Tensor] = {}

    def run(
        self,
        steps: int,
        batch_at: Callable[[int], tuple[Tensor, ...]],
        loss_of: Callable[..., Tensor],
        *,
        epoch: int = 0,
        judge: Callable[[], float] | None = None,
        minutes: float = math.inf,
    ) -> Costs:
        """Take the steps that are missing.

        Args:
            steps: in all.
            batch_at: the tensors of a step, images first.
            loss_of: from the network's answer to the first tensors and the last tensor.
            epoch: steps of an epoch, where somebody judges.
            judge: a number, the higher the better, at the end of each epoch; the weights of the best epoch are the ones
                kept, and the scheduler steps with it. Without it the scheduler steps with every step.
            minutes: stop after these, with a checkpoint; `finished(steps)` then says whether more is to be done.

        Raises:
            InputError: the folder holds a training of other settings, or another process writes there.
        """
        if self.folder is None or not self.accelerator.is_main_process:
            return self._run(steps, batch_at, loss_of, epoch, judge, minutes)
        with only_writer(self.folder):
            open_results(self.folder, self.settings)
            return self._run(steps, batch_at, loss_of, epoch, judge, minutes)

    def finished(self, steps: int) -> bool:
        """Whether so many steps have been taken."""
        return self.step >= steps

    def _run(self, steps: int, batch_at: Any, loss_of: Any, epoch: int, judge: Any, minutes: float) -> Costs:
        self._resume()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        network, optimizer = self.accelerator.prepare(self.network, self.optimizer)
        end = time.monotonic() + 60 * minutes
        while not self.finished(steps) and time.monotonic() < end:
            mine = slice(self.accelerator.process_index, None, self.accelerator.num_processes)
            batch = [tensor[mine].to(self.device) for tensor in batch_at(self.step)]
            begun = self._clock()
            self._take_step(network, optimizer, batch, loss_of)
            self.seconds += self._clock() - begun
            self.step += 1
            self.images += len(batch[0]) * self.accelerator.num_processes
            if judge is None:
                if self.scheduler is not None:
                    self.scheduler.step()
            elif self.step % epoch == 0 or self.step == steps:
                self._judge(judge())
            if self.step % self.every == 0 or self.finished(steps) or time.monotonic() >= end:
                self._save()
        if self.best is not None:
            self.network.load_state_dict(self.best_weights, strict=False)
        self.network.eval()
        trainable = sum(p.numel() for p in self.network.parameters() if p.requires_grad)
        per_1000 = 1000 * self.seconds / max(self.images, 1)
        return Costs(per_1000, self._peak(), str(self.device), self.images, trainable)

    def _take_step(self, network: Any, optimizer: Any, batch: list[Tensor], loss_of: Any) -> None:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        gpus = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus):
            torch.manual_seed(derive_seed("step", self.random_state, self.step))
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                answer = network(*batch[:-1])
            loss = loss_of(answer.float(), batch[-1])
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self._plain(optimizer))
        torch.nn.utils.clip_grad_norm_([p for p in self.network.parameters() if p.requires_grad], self.clip)
        self.scaler.step(self._plain(optimizer))
        self.scaler.update()
        after = getattr(self.network, "after_step", None)
        if after is not None:
            after()

    @staticmethod
    def _plain(optimizer: Any) -> torch.optim.Optimizer:
        return getattr(optimizer, "optimizer", optimizer)

    def _judge(self, value: float) -> None:
        if self.scheduler is not None:
            self.scheduler.step(value)
        if self.best is None or value > self.best:
            self.best = value
            self.best_weights = {name: p.cpu().clone() for name, p in trained_tensors(self.network).items()}

    def _save(self) -> None:
        if self.folder is None or not self.accelerator.is_main_process:
            return
        state = {name: getattr(self, name) for name in ("step", "images", "seconds", "best", "best_weights")}
        state |= {"network": trained_tensors(self.network), "optimizer": self.optimizer.state_dict()}
        state |= {"scaler": self.scaler.state_dict()}
        if self.scheduler is not None:
            state["scheduler"] = self.scheduler.state_dict()
        with whole_or_absent(self.folder / CHECKPOINT) as temporary:
            torch.save(state, temporary)

    def _resume(self) -> None:
        if self.folder is None or not (self.folder / CHECKPOINT).exists():
            return
        state = torch.load(self.folder / CHECKPOINT, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state.pop("network"), strict=False)
        for name in ("optimizer", "scheduler", "scaler"):
            if state.get(name):
                getattr(self, name).load_state_dict(state[name])
            state.pop(name, None)
        vars(self).update(state)

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _peak(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def trained_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The parameters that learn, by name, and what else training changes, such as a batch norm's running means."""
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    return {name: tensor.detach() for name, tensor in network.state_dict().items() if name not in frozen}


def batch_rows(seed: int, step: int, rows: int, batch_size: int) -> torch.Tensor:
    """Rows (b,) of one step: each epoch is a new order of all rows, and its last batch may be smaller.

    >>> [batch_rows(0, step, 5, 2).tolist() for step in range(3)]
    [[2, 3], [0, 1], [4]]
    """
    per_epoch = -(-rows // batch_size)
    epoch, place = divmod(step, per_epoch)
    random = torch.Generator().manual_seed(derive_seed("epoch", seed, epoch))
    order = torch.randperm(rows, generator=random)
    return order[place * batch_size : (place + 1) * batch_size]


def _accelerator(device: str | None) -> Any:
    try:
        from accelerate import Accelerator  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "training a network needs accelerate, which is not installed: pip install 'interp[finetune]'"
        ) from None
    accelerator = Accelerator(cpu=device == "cpu")
    if device not in (None, "auto") and accelerator.device.type != torch.device(str(device)).type:
        raise InputError(
            f"device {device!r} was asked for, and accelerate runs on {accelerator.device}; give device=None, or "
            "set it with `accelerate config`"
        )
    return accelerator
