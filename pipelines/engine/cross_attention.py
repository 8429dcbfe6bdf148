"""Cross-attention to texts that many frames share.

diffusers repeats a text's states for every frame and makes keys and values of each copy. Here the UNet may be given a
row for each distinct text: frames that share one are folded into one long query. The sums are the same ones.
"""

from collections.abc import Iterator

import torch
from diffusers import UNetMotionModel
from diffusers.models.attention_processor import Attention
from torch.nn import functional


def cross_attentions(unet: UNetMotionModel) -> Iterator[Attention]:
    """Yield the cross-attention layers in the order files number them."""
    for block in (*unet.down_blocks, *unet.up_blocks, unet.mid_block):
        for transformer in getattr(block, "attentions", None) or ():
            for layers in transformer.transformer_blocks:
                yield layers.attn2


class TextAttention:
    """Attention processor that takes a row of states for each text.

    Args of a call, as diffusers gives them: hidden states [N, h·w, C] and text states [R, T, D], R a divisor of N; each
    text is that of N / R neighbouring frames.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend, [N, h·w, C] in and out."""
        query, keys, values = (
            attn.to_q(hidden_states),
            attn.to_k(encoder_hidden_states),
            attn.to_v(encoder_hidden_states),
        )
        return project_out(attn, attend(attn, query, keys, values, attention_mask))


def attend(
    attn: Attention, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Attend to keys and values that neighbouring rows share.

    Args:
        query: [N, h·w, C].
        keys, values: [R, T, C], R a divisor of N.

    Returns:
        [N, h·w, C].
    """
    folded = query.reshape(len(keys), -1, query.shape[-1])
    q, k, v = (tensor.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for tensor in (folded, keys, values))
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return mixed.transpose(1, 2).reshape(query.shape).to(query.dtype)


def project_out(attn: Attention, mixed: torch.Tensor) -> torch.Tensor:
    """Apply a layer's output projection, [N, h·w, C] in and out."""
    return attn.to_out[1](attn.to_out[0](mixed)) / attn.rescale_output_factor
