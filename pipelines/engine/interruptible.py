"""Run a network's call with progress and cancel inside.

A call of Stable Diffusion's UNet takes half a minute on a CPU. So it runs in a thread, and whoever waits for it is told
a few times a second how far it is; closing the generator stops it before its next layer.
"""

import os
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import partial
from queue import SimpleQueue
from time import perf_counter
from typing import Any, ClassVar, Protocol, Self, TypeVar

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn

#: Seconds between two signs of progress, and so the longest wait until a cancel is seen.
SIGN_S = 0.25
_LAYERS = (Attention, FeedForward, ResnetBlock2D, Downsample2D, Upsample2D, AutoencoderTinyBlock)
_Result = TypeVar("_Result")
_Sign = TypeVar("_Sign", bound="_Dataclass")
_thread = threading.local()


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


class _StoppedError(BaseException):
    """Ends a call that nobody waits for any more."""


@dataclass
class Pace:
    """Times at which a network's layers began in its last call.

    Args:
        begins: As shares of the call, in their order; as if all took the same time before the first call.
    """

    begins: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, network: nn.Module) -> Self:
        """Guess the pace of a network by counting its layers."""
        count = sum(isinstance(module, _LAYERS) for module in network.modules())
        return cls([index / count for index in range(count)])

    def share(self, layers: int) -> float:
        """Return the share of a call before a layer's begin."""
        return self.begins[min(layers, len(self.begins)) - 1] if layers and self.begins else 0.0


@dataclass
class _Call:
    begins: list[float] = field(default_factory=list)
    is_stopped: bool = False


def watch(network: nn.Module) -> None:
    """Let a network's calls be stopped between layers."""
    for module in network.modules():
        if isinstance(module, _LAYERS):
            module.register_forward_pre_hook(_layer_begins)


def in_thread(work: Callable[[], _Result], pace: Pace, sign: _Sign) -> Generator[_Sign, None, _Result]:
    """Run a call of networks in a thread of its own.

    Args:
        work: Calls networks that `watch` was given; holds no gradient mode of the caller's.
        pace: That of such calls so far; a call that ends is noted in it.
        sign: The event to yield, a dataclass with a field `share`.

    Yields:
        It, every `SIGN_S` seconds, with the share of the call that is done, which never falls.

    Returns:
        Its result; its errors are raised here.
    """
    call, start, share = _Call(), perf_counter(), 0.0
    worker = _idle_worker()
    future: Future[_Result] = worker.submit(partial(copy_context().run, work), call)  # with the settings of the caller
    try:
        while not wait([future], SIGN_S).done:
            share = max(share, pace.share(len(call.begins)))
            yield replace(sign, share=share)
        result = future.result()
    finally:
        call.is_stopped = True
        wait([future])
        _IDLE.append(worker)
    seconds = perf_counter() - start
    pace.begins = [(begin - start) / seconds for begin in call.begins]
    return result


class _Worker:
    """A thread for networks' calls, kept for the next ones.

    cuDNN's plans are a thread's own and would be made anew in another. It is a daemon, so that the program may end
    within a call.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any], _Call]] = SimpleQueue()
        threading.Thread(target=self._run, name="networks", daemon=True).start()

    def submit(self, work: Callable[[], _Result], call: _Call) -> "Future[_Result]":
        future: Future[_Result] = Future()
        self._calls.put((future, work, call))
        return future

    def _run(self) -> None:
        while True:
            future, work, _thread.call = self._calls.get()
            try:
                future.set_result(work())
            except BaseException as err:  # handed to whoever waits for the result
                future.set_exception(err)
            del future, work  # what they hold is not kept until the next call


_IDLE: list[_Worker] = []


def _idle_worker() -> _Worker:
    """Take a worker; a forked process has none of its parent's."""
    while _IDLE:
        worker = _IDLE.pop()
        if worker.process == os.getpid():
            return worker
    return _Worker()


def _layer_begins(_: nn.Module, __: tuple[torch.Tensor, ...]) -> None:
    call: _Call | None = getattr(_thread, "call", None)
    if call is None:
        return
    if call.is_stopped:
        raise _StoppedError
    call.begins.append(perf_counter())
