"""Published configurations, and tokenizers in their published layout with a vocabulary of their own."""

import json
import shutil
from pathlib import Path
from typing import Any

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
_FOLDER = Path(__file__).parent / "configs"
_START, _END = "<|startoftext|>", "<|endoftext|>"
#: The first lines of CLIP's own merges, and what makes three words one token each.
_MERGES = (
    *("i n", "t h", "a n", "r e", "a r", "e r", "th e</w>", "in g</w>", "o u", "o n", "s t", "o r", "e n", "o n</w>"),
    *("a l", "a t", "e r</w>", "i t", "i n</w>", "t o</w>", "r o", "i s</w>", "l e", "i c", "a t</w>", "an d</w>"),
    *("e d</w>", "o f</w>", "c at</w>", "f o", "fo x</w>", "r ed</w>"),
)
VOCABULARY = 512 + len(_MERGES) + 2


def published(repo: str, name: str) -> dict[str, Any]:
    """A configuration as its publisher has it on the Hub."""
    return json.loads((_FOLDER / repo / name).read_text(encoding="utf-8"))


def write_config(path: Path, config: dict[str, Any]) -> None:
    """Write a configuration as the libraries do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def write_tokenizer(folder: Path, repo: str, name: str = "tokenizer") -> Path:
    """Write the four files a published tokenizer has: its own two, and CLIP's bytes with a few of its merges."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(_FOLDER / repo / name / file, folder)
    letters = _letters()
    merged = ("".join(pair.split()) for pair in _MERGES)
    tokens = [*letters, *(letter + "</w>" for letter in letters), *merged, _START, _END]
    vocabulary = json.dumps({token: number for number, token in enumerate(tokens)}, ensure_ascii=False)
    (folder / "vocab.json").write_text(vocabulary, encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *_MERGES, ""]), encoding="utf-8")
    return folder


def _letters() -> list[str]:
    """CLIP's letters for the 256 bytes, in its order: those that print, then the others under higher numbers."""
    printing = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    remaining = [byte for byte in range(256) if byte not in printing]
    return [*map(chr, printing), *(chr(256 + number) for number in range(len(remaining)))]
