"""A trained autoencoder in wider layers, to go on from: `python -m scripts.train_stickers.widen`

The first world's autoencoder knows edges and flat colours; on sticker scenes it reads 20.6 dB before a step, as much
as some hours from random weights reach here. Channels are repeated within their normalisation group and what reads
them is divided among them (Net2Net, arXiv:1511.05641), so the wide network begins near where the narrow one ended.
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import nn

from scripts.train_stickers.vae import build_vae

_NOISE = 0.02  # of a tensor's deviation: repeated channels must part


def widen(narrow: dict[str, torch.Tensor], wide: nn.Module, *, groups: int) -> None:
    """Fill `wide` with the weights of the same network with fewer channels.

    Args:
        groups: Normalisation groups, the same in both.
    """
    state = wide.state_dict()
    for name, new in state.items():
        old = narrow[name] if name in narrow else _identity(name, narrow)
        for dim in range(min(2, new.ndim)):
            source = _sources(old.shape[dim], new.shape[dim], groups)
            if dim == 1:  # inputs: share what each repeated channel adds
                shape = [-1 if d == dim else 1 for d in range(new.ndim)]
                old = old.index_select(dim, source) / source.bincount()[source].view(shape)
            else:
                old = old.index_select(dim, source)
        state[name] = old + (_NOISE * old.std() * torch.randn_like(old) if new.ndim > 1 else 0)
    wide.load_state_dict(state)


def _identity(name: str, narrow: dict[str, torch.Tensor]) -> torch.Tensor:
    """A shortcut that only the wide network has, where widths part that were alike, as it was: the identity."""
    width = len(narrow[name.replace("conv_shortcut.weight", "conv2.bias").replace("conv_shortcut.bias", "conv2.bias")])
    return torch.eye(width)[:, :, None, None] if name.endswith("weight") else torch.zeros(width)


def _sources(narrow: int, wide: int, groups: int) -> torch.Tensor:
    """Which narrow channel each wide one repeats, [wide]; groups stay apart."""
    if narrow == wide:
        return torch.arange(wide)
    a_group = torch.arange(wide // groups) % (narrow // groups)
    return torch.cat([a_group + group * (narrow // groups) for group in range(groups)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vae", type=Path, default=Path("assets/demo/vae"))
    parser.add_argument("--out", type=Path, default=Path("build/stickers/vae_wide.pt"))
    args = parser.parse_args()
    torch.manual_seed(0)
    wide = build_vae()
    narrow = AutoencoderKL.from_pretrained(args.vae).float()
    widen(narrow.state_dict(), wide, groups=wide.config.norm_num_groups)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"ema": wide.state_dict()}, args.out)


if __name__ == "__main__":
    main()
