"""Calls of networks that tell how far they are, and stop between two layers."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from diffusers.models.attention import FeedForward
from torch import nn

from pipelines.engine import interruptible
from pipelines.engine.encode import run_to_end
from pipelines.engine.generate import generate
from pipelines.engine.interruptible import Pace, in_thread, watch
from pipelines.engine.models import ModelStore
from pipelines.plan.events import Event, Progress, Stage
from pipelines.plan.request import GenerationRequest
from tests.pipeline.sink import KeptFrames

LAYER_S = 0.05


@dataclass(frozen=True)
class Sign:
    share: float | None = None


class SlowLayer(FeedForward):
    """A layer that takes its time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(LAYER_S)
        return x + 1


@pytest.fixture
def network() -> nn.Module:
    network = nn.Sequential(*(SlowLayer(4) for _ in range(20)))
    watch(network)
    return network


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(interruptible, "SIGN_S", LAYER_S / 2)


def test_a_call_tells_how_far_it_is_and_gives_its_result(network):
    pace, results = Pace.of(network), []
    work = in_thread(lambda: results.append(network(torch.zeros(1))), pace, Sign())
    shares = [sign.share for sign in work]
    assert results == [20]
    assert shares == sorted(shares)
    assert len(set(shares)) > 5
    assert 0.5 < shares[-1] < 1
    assert len(pace.begins) == 20
    assert pace.begins == sorted(pace.begins)


def test_closing_stops_a_call_before_its_next_layer(network):
    began: list[float] = []
    network[10].register_forward_pre_hook(lambda *_: began.append(time.monotonic()))
    work = in_thread(lambda: network(torch.zeros(1)), Pace(), Sign())
    next(work)
    start = time.monotonic()
    work.close()
    assert time.monotonic() - start < 10 * LAYER_S
    assert not began
    assert run_to_end(in_thread(lambda: network(torch.zeros(1)), Pace(), Sign())) == 20, "and the next is whole"


def test_calls_have_one_thread_after_another_and_leave_it_free_for_the_next():
    """What cuDNN has planned is kept by its thread."""

    def ident() -> int:
        return run_to_end(in_thread(threading.get_ident, Pace(), Sign()))

    first = ident()
    assert first != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        run_to_end(in_thread(lambda: 1 / 0, Pace(), Sign()))
    assert ident() == first


def test_an_error_is_raised_where_the_result_was_awaited():
    with pytest.raises(ZeroDivisionError):
        run_to_end(in_thread(lambda: 1 / 0, Pace(), Sign()))
    assert torch.is_grad_enabled()


def test_networks_outside_such_a_call_are_left_alone(network):
    assert network(torch.zeros(1)) == 20


def test_a_clip_is_told_of_and_stopped_within_a_step(store: ModelStore, monkeypatch):
    """As at Stable Diffusion's size, where a step is half a minute of a CPU."""
    monkeypatch.setattr(interruptible, "SIGN_S", 0.01)
    components = store.load("demo", "demo")
    layers: list[int] = []
    hooks = [
        module.register_forward_pre_hook(lambda *_: layers.append(1))
        for module in components.unet.modules()
        if isinstance(module, FeedForward)
    ]
    try:
        request = GenerationRequest.build(prompt="a star", seed=3, num_frames=8, num_inference_steps=4)
        events = generate(request, open_writer=KeptFrames().opener(), store=store)
        within = [event for event in _until(events, steps=2) if event.share is not None]
        a_step = len(layers) // 2
        next(event for event in events if isinstance(event, Progress) and event.share)
        events.close()
        assert len(layers) < 3 * a_step
    finally:
        for hook in hooks:
            hook.remove()
    assert within
    assert all(before.fraction <= after.fraction for before, after in pairwise(within))


def _until(events: Iterator[Event], *, steps: int) -> Iterator[Event]:
    for event in events:
        if event.stage is Stage.DENOISE:
            yield event
            if event.step == steps:
                return
