"""Stage 7: the embedded model's other motion modules, trained from its first while the image UNet stays as it is.

    python -m scripts.train_demo.motion_module v3  --clip build/clip.pt --checkpoint build/v3.pt
    python -m scripts.train_demo.motion_module lcm --clip build/clip.pt --checkpoint build/lcm.pt

"v3" has no layers in the middle block, as AnimateDiff v3 has none. "lcm" makes a clip in four steps without
guidance, as AnimateLCM does: consistency distillation (arXiv:2310.04378) on the very four timesteps its
sampler visits. A guided teacher walks from one of them to the next; from there the student's own average
says what the clip is, and the student must say the same from where the teacher began.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import torch
from diffusers import LCMScheduler
from torch import nn

from scripts.train_demo import trainer
from scripts.train_demo.captions import plain_caption
from scripts.train_demo.diffusion import (
    Corpus,
    Held,
    add_data_arguments,
    clip_loss,
    encode_texts,
    held_out_scenes,
    load_text,
    random_frames,
)
from scripts.train_demo.networks import FramePositions, build_scheduler, load_clip

STEPS = 4
GUIDANCE_SCALE = 3.0  # the teacher's
SUBSTEPS = 2  # of the teacher from one timestep of the student to the next


def stage(rank: int, plan: trainer.Budget, args: argparse.Namespace) -> None:
    """Train one motion module."""
    text = load_text(args.text, args.tokenizer)
    corpus = Corpus(args.latents, plan, rank, text)
    network = load_clip(args.clip)
    for name, parameter in network.named_parameters():
        parameter.requires_grad = ".motion_modules." in name
    is_lcm = args.kind == "lcm"
    if not is_lcm:
        network.mid_block.motion_modules[0].aside = True
        network.mid_block.motion_modules.requires_grad_(False)
    task = trainer.Trainer(network, plan, rank, ema_decay=0.95 if is_lcm else 0.99, warm_up=50)
    scenes = held_out_scenes(24)
    held = Held(scenes, [plain_caption(scene) for scene in scenes], args, plan.device)
    if is_lcm:
        empty = encode_texts(*text, [""], plan.device).float()
        loss = distillation(task, corpus, load_clip(args.clip).eval().requires_grad_(False), empty, args.frames)
        score = lambda ema: held.score(ema, is_clip=True, sampler=lcm_scheduler(), guidance_scale=1)  # noqa: E731
    else:
        loss = clip_loss(task, corpus, args.frames)
        score = lambda ema: held.score(ema, is_clip=True)  # noqa: E731
    task.run(loss, score=score, every_s=args.score_every)


def distillation(
    task: trainer.Trainer, corpus: Corpus, teacher: nn.Module, empty: torch.Tensor, num_frames: int
) -> trainer.Loss:
    """What the student must agree on with its own later self."""
    scheduler = build_scheduler()
    visited = [int(t) for t in lcm_scheduler().timesteps] + [0]
    alphas = scheduler.alphas_cumprod.to(task.plan.device)

    def predict(network: nn.Module, x: torch.Tensor, t: int, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The clean clip and the noise that a network sees in x."""
        velocity = network(x, t, text.repeat_interleave(x.shape[2], dim=0)).sample.float()
        signal, noise = alphas[t].sqrt(), (1 - alphas[t]).sqrt()
        return signal * x - noise * velocity, noise * x + signal * velocity

    @torch.no_grad()
    def target(noisy: torch.Tensor, text: torch.Tensor, begin: int, end: int) -> torch.Tensor:
        ways = torch.linspace(begin, end, SUBSTEPS + 1).round().int().tolist()
        x, both = noisy, torch.cat([empty.expand(len(text), -1, -1), text])
        for t, after in pairwise(ways):
            pairs = predict(teacher, torch.cat([x, x]), t, both)
            clean, noise = (part[0] + GUIDANCE_SCALE * (part[1] - part[0]) for part in (p.chunk(2) for p in pairs))
            if after == 0:
                return clean
            x = alphas[after].sqrt() * clean + (1 - alphas[after]).sqrt() * noise
        return predict(task.ema, x, end, text)[0]

    def loss(_: int) -> torch.Tensor:
        frames = random_frames(num_frames)
        FramePositions.frames = frames
        latents, text, _ = corpus.batch(task.plan.batch, frames)
        which = int(torch.randint(STEPS, ()))
        t = visited[which]
        noise = torch.randn_like(latents)
        # The first step sees pure noise, as sampling does.
        noisy = noise if which == 0 else scheduler.add_noise(latents, noise, torch.tensor(t))
        wanted = target(noisy, text, t, visited[which + 1])
        return nn.functional.huber_loss(predict(task.model, noisy, t, text)[0], wanted, delta=0.5)

    return loss


def lcm_scheduler() -> LCMScheduler:
    """The sampler the student is made for, its timesteps set."""
    scheduler = LCMScheduler.from_config(build_scheduler().config)
    scheduler.set_timesteps(STEPS)
    return scheduler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("v3", "lcm"))
    trainer.add_arguments(parser, minutes=10, batch=6, lr=5e-4)
    add_data_arguments(parser)
    parser.add_argument("--clip", type=Path, default=Path("build/clip.pt"), help="checkpoint of the clip stage")
    args = parser.parse_args()
    trainer.launch(stage, trainer.budget(args), args)


if __name__ == "__main__":
    main()
