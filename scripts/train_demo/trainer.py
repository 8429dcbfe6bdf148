"""What the training stages share: processes, averaging, learning rate, checkpoints, the log.

One single-thread process a core, gradients averaged over gloo: on small shared machines two OpenMP
threads were measured several times slower than one. On a GPU run with `--processes 1`.
"""

import argparse
import copy
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

Loss = Callable[[int], torch.Tensor]


@dataclass(frozen=True)
class Budget:
    """How long and how fast a stage trains; read from the command line by `add_arguments`."""

    checkpoint: Path
    minutes: float
    batch: int
    lr: float
    seed: int
    device: str
    processes: int
    resume: bool
    warm_start: Path | None = None
    steps: int = 0  # where not 0, they are the budget instead of the minutes
    precision: str = "bfloat16"


def add_arguments(
    parser: argparse.ArgumentParser,
    *,
    minutes: float,
    batch: int,
    lr: float,
    checkpoint: Path | None = None,
    steps: int = 0,
) -> None:
    """Add the arguments every stage has, with this stage's defaults."""
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=checkpoint,
        required=checkpoint is None,
        help="file to write, and to resume from",
    )
    parser.add_argument("--minutes", type=float, default=minutes, help="time budget of this run")
    parser.add_argument("--steps", type=int, default=steps, help="budget in steps instead: the same run on any machine")
    parser.add_argument("--batch", type=int, default=batch, help="samples a step and process")
    parser.add_argument("--lr", type=float, default=lr, help="peak learning rate (AdamW, cosine to zero)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="bfloat16" if has_bfloat16() else "float32")
    parser.add_argument("--processes", type=int, default=1, help="single-thread processes, gradients averaged")
    parser.add_argument("--resume", action="store_true", help="go on from --checkpoint")
    parser.add_argument("--warm-start", type=Path, help="take the first weights from another checkpoint")


def has_bfloat16() -> bool:
    """Whether bfloat16 is worth it: on a CPU without the instructions a product in it took 50 times float32's time."""
    return torch.cuda.is_available() or torch.cpu._is_avx512_bf16_supported()


def budget(args: argparse.Namespace) -> Budget:
    """Read the shared arguments back."""
    return Budget(**{name: getattr(args, name) for name in Budget.__dataclass_fields__})


def launch(stage: Callable[..., None], plan: Budget, *args: object) -> None:
    """Run `stage(rank, plan, *args)` in `plan.processes` processes that average gradients."""
    if plan.processes == 1:
        _enter(0, stage, plan, args)
    else:
        torch.multiprocessing.spawn(_enter, (stage, plan, args), nprocs=plan.processes)


def _enter(rank: int, stage: Callable[..., None], plan: Budget, args: tuple) -> None:
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", str(29500 + plan.seed % 100))
    if plan.device == "cpu":
        torch.set_num_threads(1)
    if plan.processes > 1:
        dist.init_process_group("gloo", rank=rank, world_size=plan.processes)
    torch.manual_seed(plan.seed * 1000 + rank)
    stage(rank, plan, *args)


def seed_step(plan: Budget, rank: int, step: int) -> np.random.Generator:
    """Seed torch for one step and return a generator for its data: a resumed run draws what an unbroken one does."""
    torch.manual_seed(int(np.random.SeedSequence((plan.seed, rank, step)).generate_state(1)[0]))
    return np.random.default_rng((plan.seed, rank, step))


class Trainer:
    """AdamW + cosine over the time budget + EMA, with a checkpoint every few minutes."""

    def __init__(
        self, model: nn.Module, plan: Budget, rank: int, *, ema_decay: float = 0.999, warm_up: int = 200
    ) -> None:
        self.model, self.plan, self.rank, self.ema_decay = (
            model.to(plan.device).train(),
            plan,
            rank,
            ema_decay,
        )
        self.warm_up = warm_up
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, plan.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self.ema = copy.deepcopy(model).eval().requires_grad_(False)
        self.step, self.first_step, self.minutes_before = 0, 0, 0.0
        if plan.resume or plan.warm_start:
            self._load(plan.checkpoint if plan.resume else plan.warm_start)
        self.start = time.monotonic()
        self._sync_weights()

    def run(
        self,
        loss: Loss,
        *,
        score: Callable[[nn.Module], str] = lambda _: "",
        every_s: float = 120,
        finished: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train until the budget is spent or `finished()` after a score.

        `loss(step)` returns a scalar, `score(ema)` a line for the log.
        """
        mean, last, since = 0.0, time.monotonic(), 0
        for step in self._steps():
            with torch.autocast(self.plan.device, torch.bfloat16, enabled=self.plan.precision == "bfloat16"):
                value = loss(step)
            value.backward()
            self._average_gradients()
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self._update_ema()
            self.step += 1
            mean, since = mean + float(value.detach()), since + 1
            if self.rank == 0 and time.monotonic() - last > every_s:
                rate = since / (time.monotonic() - last)
                print(
                    f"{self._elapsed():6.1f} min  step {step}  {rate:.2f} steps/s  loss {mean / since:.5f}"
                    f"  lr {self.optimizer.param_groups[0]['lr']:.2e}  {score(self.ema)}",
                    flush=True,
                )
                self.save()
                mean, last, since = 0.0, time.monotonic(), 0
                if self.plan.processes == 1 and finished():
                    break
        if self.rank == 0:
            print(f"{self._elapsed():6.1f} min  finished at step {self.step}  {score(self.ema)}", flush=True)
            self.save()

    def save(self) -> None:
        """Write the checkpoint beside its name and rename it, so that a killed run leaves the last one whole."""
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "minutes": self._elapsed(),
        }
        part = self.plan.checkpoint.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, part)
        part.replace(self.plan.checkpoint)

    def _load(self, path: Path) -> None:
        state = torch.load(path, map_location=self.plan.device, weights_only=True)
        if self.plan.resume:
            self.model.load_state_dict(state.get("model", state["ema"]))  # a packed checkpoint has the average alone
            self.ema.load_state_dict(state["ema"])
            if "optimizer" in state:
                self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.minutes_before = state["step"], state["minutes"]
            if "optimizer" not in state:
                self.first_step = self.step
        else:  # a new stage: motion modules and read-outs may be new, nothing else
            missing, unexpected = self.model.load_state_dict(state["ema"], strict=False)
            new = ("compass.", "heads.")
            if unexpected or any(not name.startswith(new) and "motion_modules" not in name for name in missing):
                raise ValueError(f"{path} does not fit: missing {missing[:3]}, unexpected {unexpected[:3]}.")
            self.ema.load_state_dict(self.model.state_dict())

    def _elapsed(self) -> float:
        return self.minutes_before + (time.monotonic() - self.start) / 60

    def _steps(self) -> Iterator[int]:
        while True:
            # The clock decides, and the processes must agree on what it said.
            steps = self.plan.steps
            progress = torch.tensor(self.step / steps if steps else self._elapsed() / self.plan.minutes)
            if self.plan.processes > 1:
                dist.broadcast(progress, 0)
            if progress >= 1:
                return
            warm = min(1.0, (self.step - self.first_step + 1) / self.warm_up)
            rate = self.plan.lr * warm * (0.5 + 0.5 * float(torch.cos(progress * torch.pi)))
            for group in self.optimizer.param_groups:
                group["lr"] = max(rate, self.plan.lr * 0.01)
            yield self.step

    def _average_gradients(self) -> None:
        if self.plan.processes == 1:
            return
        used = [p for p in self.parameters if p.grad is not None]
        flat = torch.cat([p.grad.flatten() for p in used])
        dist.all_reduce(flat)
        flat /= self.plan.processes
        for p, part in zip(used, flat.split([p.numel() for p in used]), strict=True):
            p.grad.copy_(part.view_as(p))

    @torch.no_grad()
    def _update_ema(self) -> None:
        decay = min(self.ema_decay, (self.step + 1) / (self.step + 10))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.model.parameters()), 1 - decay)

    @torch.no_grad()
    def _sync_weights(self) -> None:
        if self.plan.processes > 1:
            for p in self.model.parameters():
                dist.broadcast(p, 0)
            self.ema.load_state_dict(self.model.state_dict())
