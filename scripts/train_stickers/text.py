"""Stage 2: the text encoder learns the sticker world's words. `python -m scripts.train_stickers.text`

It goes on from the shipped one, with its tokenizer: read-outs must name what a caption states at every position from
its end token on (`scripts.train_demo.text`), and captions of the first world keep the states they had, since the
UNet that the next stages begin with listens to those. Then it is frozen.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import CLIPTextModel, CLIPTokenizer

from scripts.train_demo import captions as first
from scripts.train_demo import trainer
from scripts.train_demo.text import Reader, at_or_after_end, build_text_encoder, tokenize
from scripts.train_demo.world import sample_scene as sample_first_scene
from scripts.train_stickers.captions import ATTRIBUTES, MOTION_PHRASES, SCENE_PHRASES, caption
from scripts.train_stickers.subjects import SUBJECTS
from scripts.train_stickers.world import sample_scene

GATE = 0.985  # of every attribute
HELD_OUT = 400
OLD_SHARE, OLD_WEIGHT = 0.25, 5.0
SHIPPED = Path("assets/demo")


def words_of(*phrases: str) -> set[str]:
    """Collect all words of some phrases."""
    return set(re.findall(r"[a-z]+", " ".join(phrases)))


_OLD = (first.SHAPE_WORDS, first.COLOUR_WORDS, first.SIZE_WORDS, first.MOTION_WORDS, first.CAMERA_WORDS)
OLD_WORDS = words_of(*(p for table in _OLD for phrases in table.values() for p in phrases), *first.GROUND_PHRASES)
#: Words that meant nothing in the first world: its captions that hold one are not held to their old states.
NEW_WORDS = (
    words_of(*(word for subject in SUBJECTS.values() for word in subject.words))
    | words_of(*(p for table in (SCENE_PHRASES, MOTION_PHRASES) for phrases in table.values() for p in phrases))
) - OLD_WORDS


def read_batch(
    rng: np.random.Generator, tokenizer: CLIPTokenizer, count: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Draw token ids [count, 77] and labels [count]; "not said" is the last class."""
    pairs = [caption(rng, sample_scene(rng)) for _ in range(count)]
    ids = tokenize(tokenizer, [text for text, _ in pairs])
    return ids, {name: torch.tensor([said[name] % (len(c) + 1) for _, said in pairs]) for name, c in ATTRIBUTES.items()}


def first_captions(rng: np.random.Generator, count: int) -> list[str]:
    """Draw captions of the first world that mean the same in this one."""
    texts: list[str] = []
    while len(texts) < count:
        text = first.caption(rng, sample_first_scene(rng), leave_out=0.0, empty=0.0)[0]
        if not words_of(text.lower()) & NEW_WORDS:
            texts.append(text)
    return texts


def load_shipped(model: Path) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Load tokenizer and text encoder of a diffusers folder, float32, fit for training."""
    tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
    encoder = build_text_encoder(tokenizer)
    encoder.load_state_dict(CLIPTextModel.from_pretrained(model / "text_encoder").float().state_dict())
    return tokenizer, encoder


def stage(rank: int, plan: trainer.Budget) -> None:
    """Train the encoder and its read-outs until every attribute is read."""
    tokenizer, encoder = load_shipped(SHIPPED)
    _, before = load_shipped(SHIPPED)
    before = before.eval().requires_grad_(False).to(plan.device)
    held = read_batch(np.random.default_rng(20_000), tokenizer, HELD_OUT)
    held_first = tokenize(tokenizer, first_captions(np.random.default_rng(20_001), 100))
    task = trainer.Trainer(Reader(encoder, ATTRIBUTES), plan, rank, ema_decay=0.99)
    least = 0.0

    def loss(step: int) -> torch.Tensor:
        rng = trainer.seed_step(plan, rank, step)
        ids, labels = read_batch(rng, tokenizer, plan.batch)
        hidden, logits = task.model(ids.to(plan.device))
        after_end = at_or_after_end(ids, tokenizer.eos_token_id).to(plan.device)
        total = 1e-3 * hidden.pow(2).mean()  # keeps the states small, so that guidance extrapolates tamely
        for name, scores in logits.items():
            target = labels[name].to(plan.device)[:, None].expand(-1, scores.shape[1])
            total = total + cross_entropy(scores[after_end].float(), target[after_end], label_smoothing=0.05)
        old = tokenize(tokenizer, first_captions(rng, max(1, int(plan.batch * OLD_SHARE)))).to(plan.device)
        return total + OLD_WEIGHT * moved(task.model.text_encoder, before, old)

    @torch.no_grad()
    def score(ema: nn.Module) -> str:
        nonlocal least
        ids, labels = held
        _, logits = ema(ids.to(plan.device))
        end = at_or_after_end(ids, tokenizer.eos_token_id).int().argmax(dim=1)
        right = {
            name: float((scores.cpu()[torch.arange(len(ids)), end].argmax(-1) == labels[name]).float().mean())
            for name, scores in logits.items()
        }
        least = min(right.values())
        told = "  ".join(f"{name} {100 * share:.1f} %" for name, share in right.items())
        return f"{told}  moved {float(moved(ema.text_encoder, before, held_first.to(plan.device))) ** 0.5:.3f}"

    task.run(loss, score=score, every_s=300, finished=lambda: least >= GATE)
    if least < GATE:
        raise SystemExit(f"text: the gate of {100 * GATE:g} % was not passed, the least is read {100 * least:.1f} %.")


def moved(encoder: CLIPTextModel, before: CLIPTextModel, ids: torch.Tensor) -> torch.Tensor:
    """Measure how far the states of token ids are from those before, a share of their square."""
    known = before(ids)[0]
    return (encoder(ids)[0] - known).pow(2).mean() / known.pow(2).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    trainer.add_arguments(parser, minutes=60, batch=32, lr=1e-3, checkpoint=Path("build/stickers/text.pt"), steps=4_000)
    trainer.launch(stage, trainer.budget(parser.parse_args()))


if __name__ == "__main__":
    main()
