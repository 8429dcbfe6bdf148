"""Stage 2: the tokenizer and the text encoder. `python -m scripts.train_demo.text --checkpoint build/text.pt`

SD 1.5 stands on CLIP, which knows what "moving left" means before any picture is drawn. Ours gets the
same head start by supervision: linear read-outs must name every attribute a caption states (or that it
states none) from each position at or after the end token. Diffusion training then keeps it frozen, as
SD 1.5 keeps CLIP. The read-outs are thrown away.
"""

import argparse
import copy
import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from scripts.train_demo import trainer
from scripts.train_demo.captions import ATTRIBUTES, caption
from scripts.train_demo.world import sample_scene

WIDTH = 128
VOCABULARY = 1400
GROUND_UNSAID, CAMERA_UNSAID = len(ATTRIBUTES["ground"]), len(ATTRIBUTES["camera"])


def train_tokenizer(folder: Path, *, seed: int = 0, sentences: int = 20_000) -> CLIPTokenizer:
    """Learn a byte-level BPE in CLIP's format on captions, and save it as a diffusers `tokenizer` folder."""
    rng = np.random.default_rng(seed)
    texts = [caption(rng, sample_scene(rng))[0].lower() for _ in range(sentences)]
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_clip_pattern(), "removed", invert=True),
            ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(ByteLevel.alphabet())
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
        ),
    )
    folder.mkdir(parents=True, exist_ok=True)
    bpe.model.save(str(folder))
    return _as_clip(folder, alphabet)


def _clip_pattern() -> Regex:
    return Regex(r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")


def _as_clip(folder: Path, alphabet: list[str]) -> CLIPTokenizer:
    """Rebuild vocab.json in CLIP's order: letters, letters that end a word, merges, the two special tokens."""
    merges_file = folder / "merges.txt"
    merges = [
        tuple(line.split(" ")) for line in merges_file.read_text("utf-8").splitlines() if not line.startswith("#")
    ]
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), *("".join(pair) for pair in merges)]
    tokens = [*list(dict.fromkeys(tokens)), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), "utf-8")
    tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=77)
    tokenizer.save_pretrained(folder)
    return tokenizer


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The text encoder's shape, weights random. Eager attention: SDPA's backward is slow on CPUs."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=WIDTH,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",
    )
    return CLIPTextModel(config)


class Reader(nn.Module):
    """The text encoder with one linear read-out an attribute; the last class is "not said"."""

    def __init__(self, text_encoder: CLIPTextModel, attributes: dict[str, tuple[str, ...]] = ATTRIBUTES) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, len(c) + 1) for name, c in attributes.items()})

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Hidden states [B, T, WIDTH] and logits [B, T, classes + 1]."""
        hidden = self.text_encoder(ids)[0]
        return hidden, {name: head(hidden) for name, head in self.heads.items()}


def read_batch(
    rng: np.random.Generator, tokenizer: CLIPTokenizer, count: int
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Token ids [count, 77] and labels [count]; "not said" is the last class."""
    pairs = [caption(rng, sample_scene(rng), leave_out=0.2) for _ in range(count)]
    ids = tokenize(tokenizer, [text for text, _ in pairs])
    labels = {
        name: torch.tensor([said[name] % (len(classes) + 1) for _, said in pairs])
        for name, classes in ATTRIBUTES.items()
    }
    return ids, labels


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Token ids [len(texts), 77], padded and cut."""
    return tokenizer(texts, padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids


def stage(rank: int, plan: trainer.Budget, tokenizer_folder: Path) -> None:
    """Train the encoder and its read-outs."""
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    rng = np.random.default_rng((plan.seed, rank, 2))
    held = read_batch(np.random.default_rng(20_000), tokenizer, 400)
    task = trainer.Trainer(Reader(build_text_encoder(tokenizer)), plan, rank, ema_decay=0.99)
    # A UNet already listens to the encoder that a warm start goes on from: old words keep their old states.
    before = copy.deepcopy(task.model.text_encoder).eval().requires_grad_(False) if plan.warm_start else None

    def loss(_: int) -> torch.Tensor:
        ids, labels = (part.to(plan.device) if isinstance(part, torch.Tensor) else part for part in
                       read_batch(rng, tokenizer, plan.batch))  # fmt: skip
        hidden, logits = task.model(ids)
        after_end = at_or_after_end(ids, tokenizer.eos_token_id)
        total = 1e-3 * hidden.pow(2).mean()  # keeps the states small, so that guidance extrapolates tamely
        if before is not None:
            old = (labels["ground"] == GROUND_UNSAID) & (labels["camera"] == CAMERA_UNSAID)
            known = before(ids[old])[0]
            total = total + 5 * (hidden[old] - known).pow(2).mean() / known.pow(2).mean()
        for name, scores in logits.items():
            target = labels[name].to(plan.device)[:, None].expand(-1, scores.shape[1])
            total = total + cross_entropy(scores[after_end].float(), target[after_end], label_smoothing=0.05)
        return total

    @torch.no_grad()
    def score(ema: nn.Module) -> str:
        ids, labels = held
        _, logits = ema(ids.to(plan.device))
        end = at_or_after_end(ids, tokenizer.eos_token_id).int().argmax(dim=1)
        right = {
            name: float((scores.cpu()[torch.arange(len(ids)), end].argmax(-1) == labels[name]).float().mean())
            for name, scores in logits.items()
        }
        told = "  ".join(f"{name} {100 * share:.1f} %" for name, share in right.items())
        if before is not None:
            old = (labels["ground"] == GROUND_UNSAID) & (labels["camera"] == CAMERA_UNSAID)
            states, known = ema.text_encoder(ids[old])[0], before(ids[old])[0]
            told += f"  moved {float(((states - known).pow(2).mean() / known.pow(2).mean()).sqrt()):.3f}"
        return told

    task.run(loss, score=score, every_s=30)


def at_or_after_end(ids: torch.Tensor, eos: int) -> torch.Tensor:
    """Which positions of token ids [B, T] have seen the whole text."""
    return (ids == eos).cumsum(dim=1) > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    trainer.add_arguments(parser, minutes=4, batch=64, lr=1e-3)
    parser.add_argument("--tokenizer", type=Path, default=Path("build/tokenizer"))
    args = parser.parse_args()
    if not args.resume and not args.warm_start:
        train_tokenizer(args.tokenizer, seed=args.seed)
    trainer.launch(stage, trainer.budget(args), args.tokenizer)


if __name__ == "__main__":
    main()
