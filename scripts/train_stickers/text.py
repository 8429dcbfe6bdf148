"""Stage 2: tokenizer and text encoder of the sticker world. `python -m scripts.train_stickers.text`

As in the first world (`scripts.train_demo.text`): read-outs must name what a caption states at every position from its
end token on, then the encoder is frozen. Of two prompts that mean the same the states should be near each other, so
the read-outs are all it learns from.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import CLIPTokenizer

from scripts.train_demo import trainer
from scripts.train_demo.text import SENTENCES, Reader, at_or_after_end, build_text_encoder, tokenize, train_tokenizer
from scripts.train_stickers.captions import ATTRIBUTES, caption
from scripts.train_stickers.world import sample_scene

VOCABULARY = 1800
GATE = 0.985  # of every attribute
HELD_OUT = 400


def read_batch(
    rng: np.random.Generator, tokenizer: CLIPTokenizer, count: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Token ids [count, 77] and labels [count]; "not said" is the last class."""
    pairs = [caption(rng, sample_scene(rng)) for _ in range(count)]
    ids = tokenize(tokenizer, [text for text, _ in pairs])
    return ids, {name: torch.tensor([said[name] % (len(c) + 1) for _, said in pairs]) for name, c in ATTRIBUTES.items()}


def stage(rank: int, plan: trainer.Budget, tokenizer_folder: Path) -> None:
    """Train the encoder and its read-outs until every attribute is read."""
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    held = read_batch(np.random.default_rng(20_000), tokenizer, HELD_OUT)
    task = trainer.Trainer(Reader(build_text_encoder(tokenizer), ATTRIBUTES), plan, rank, ema_decay=0.99)
    least = 0.0

    def loss(step: int) -> torch.Tensor:
        ids, labels = read_batch(trainer.seed_step(plan, rank, step), tokenizer, plan.batch)
        hidden, logits = task.model(ids.to(plan.device))
        after_end = at_or_after_end(ids, tokenizer.eos_token_id).to(plan.device)
        total = 1e-3 * hidden.pow(2).mean()  # keeps the states small, so that guidance extrapolates tamely
        for name, scores in logits.items():
            target = labels[name].to(plan.device)[:, None].expand(-1, scores.shape[1])
            total = total + cross_entropy(scores[after_end].float(), target[after_end], label_smoothing=0.05)
        return total

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
        return "  ".join(f"{name} {100 * share:.1f} %" for name, share in right.items())

    task.run(loss, score=score, every_s=120, finished=lambda: least >= GATE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    trainer.add_arguments(parser, minutes=60, batch=32, lr=1e-3, checkpoint=Path("build/stickers/text.pt"), steps=6_000)
    parser.add_argument("--tokenizer", type=Path, default=Path("build/stickers/tokenizer"))
    args = parser.parse_args()
    if not (args.tokenizer / "vocab.json").exists():
        rng = np.random.default_rng(args.seed)
        texts = [caption(rng, sample_scene(rng))[0] for _ in range(SENTENCES)]
        train_tokenizer(args.tokenizer, texts, vocabulary=VOCABULARY)
    trainer.launch(stage, trainer.budget(args), args.tokenizer)


if __name__ == "__main__":
    main()
