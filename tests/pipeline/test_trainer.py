"""Training that stops and goes on: the same weights as if it had not stopped."""

from pathlib import Path

import pytest
import torch
from torch import nn

from scripts.train_demo.trainer import Budget, Trainer, seed_step


def plan(checkpoint: Path, **other: object) -> Budget:
    return Budget(**{"checkpoint": checkpoint, "minutes": 1.0, "batch": 4, "lr": 1e-2, "seed": 3, "device": "cpu",
                     "processes": 1, "resume": False, "steps": 6, "precision": "float32"} | other)  # fmt: skip


def train(budget: Budget, *, stop_after: int = 100) -> Trainer:
    torch.manual_seed(0)
    task = Trainer(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)), budget, 0, warm_up=2)
    scored = []

    def loss(step: int) -> torch.Tensor:
        data = torch.from_numpy(seed_step(budget, 0, step).normal(size=(budget.batch, 3))).float()
        return (task.model(data + 0.1 * torch.randn(budget.batch, 3)) - data.sum(dim=1, keepdim=True)).pow(2).mean()

    task.run(loss, score=lambda _: scored.append(1) or "", every_s=-1, finished=lambda: len(scored) >= stop_after)
    return task


def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(tmp_path: Path):
    unbroken = train(plan(tmp_path / "a.pt"))
    train(plan(tmp_path / "b.pt"), stop_after=3)
    resumed = train(plan(tmp_path / "b.pt", resume=True))
    assert resumed.step == unbroken.step == 6
    for weights, other in ((unbroken.model, resumed.model), (unbroken.ema, resumed.ema)):
        for (name, ours), theirs in zip(weights.state_dict().items(), other.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs), name


def test_a_packed_checkpoint_goes_on_from_its_average(tmp_path: Path):
    train(plan(tmp_path / "a.pt"), stop_after=2)
    state = torch.load(tmp_path / "a.pt", weights_only=True)
    torch.save({name: state[name] for name in ("ema", "step", "minutes")}, tmp_path / "packed.pt")
    task = Trainer(
        nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)), plan(tmp_path / "packed.pt", resume=True), 0
    )
    assert task.step == 2
    assert torch.equal(task.model[0].weight, state["ema"]["0.weight"])


def test_the_budget_in_steps_is_kept_and_the_rate_falls(tmp_path: Path):
    task = train(plan(tmp_path / "a.pt", steps=20))
    assert task.step == 20
    assert task.optimizer.param_groups[0]["lr"] == pytest.approx(1e-4, rel=0.1)
