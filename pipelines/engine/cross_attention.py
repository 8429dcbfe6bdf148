"""Cross-attention to texts that many frames share.

diffusers repeats a text's states for every frame and makes keys and values of each copy. Here the UNet may be given a
row for each distinct text: frames that share one are folded into one long query. The sums are the same ones.
"""

from collections.abc import Iterator, Sequence

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
    """Attention processor for texts and each image prompt beside them.

    Args:
        prompts: For each image prompt its tokens [N, n, D], its weight, and what makes keys and values of the tokens.

    Source: of the image prompts IP-Adapter, arXiv:2308.06721, equation 5.
    """

    def __init__(
        self, prompts: Sequence[tuple[torch.Tensor, float | torch.Tensor, torch.Tensor, torch.Tensor]] = ()
    ) -> None:
        self._prompts = prompts

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Attend as diffusers' processors do, [N, h·w, C] in and out.

        Args:
            encoder_hidden_states: [R, T, D], R a divisor of N: each text is that of N / R neighbouring frames.
        """
        query = attn.to_q(hidden_states)

        def attend(keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
            folded = query.reshape(len(keys), -1, query.shape[-1])
            q, k, v = (tensor.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for tensor in (folded, keys, values))
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            return mixed.transpose(1, 2).reshape(query.shape).to(query.dtype)

        out = attend(attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states), attention_mask)
        for tokens, weight, key, value in self._prompts:
            out = out + weight * attend(functional.linear(tokens, key), functional.linear(tokens, value))
        return attn.to_out[1](attn.to_out[0](out)) / attn.rescale_output_factor
