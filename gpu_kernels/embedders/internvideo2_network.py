"""InternVideo2's vision tower of stage 2, by the parameter names of the published checkpoint.

Y. Wang et al. 2024 (arXiv 2403.15377): a vision transformer over space and time with a scale at each layer's end,
queries and keys normalised over all heads together, and a pooled token that looks at all others.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_HEADS = 16
"""Of every attention."""


@dataclass(frozen=True)
class Sizes:
    """What differs between checkpoints."""

    width: int
    hidden: int
    depth: int
    patch: int
    side: int
    """Patches along a side."""
    frames: int
    pooled: int

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> "Sizes":
        """As the weights of a tower, by name, have them.

        Raises:
            KeyError: one that says a size is missing.
        """
        patches = state["img_pos_embed"].shape[1] - 1
        return cls(
            width=state["cls_token"].shape[-1],
            hidden=state["blocks.0.mlp.fc1.weight"].shape[0],
            depth=1 + max((int(name.split(".")[1]) for name in state if name.startswith("blocks.")), default=0),
            patch=state["patch_embed.proj.weight"].shape[-1],
            side=round(patches**0.5),
            frames=(state["pos_embed"].shape[1] - 1) // patches,
            pooled=state["clip_projector.cross_attn.proj.weight"].shape[0],
        )


class VisionTower(nn.Module):
    """Prepared frames [b, 3, t, h, w] to pooled features [b, pooled]; t is `frames`, or 1 for a picture."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        patches = sizes.side**2
        self.patch_embed = nn.ModuleDict({"proj": _patches(sizes)})
        self.cls_token = nn.Parameter(torch.empty(1, 1, sizes.width))
        self.pos_embed = nn.Parameter(torch.empty(1, sizes.frames * patches + 1, sizes.width))
        self.img_pos_embed = nn.Parameter(torch.empty(1, patches + 1, sizes.width))
        self.blocks = nn.ModuleList(_Block(sizes) for _ in range(sizes.depth))
        self.clip_projector = _Pool(sizes)

    def forward(self, frames: Tensor) -> Tensor:
        x = self.patch_embed["proj"](frames).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = x + (self.img_pos_embed if frames.shape[2] == 1 else self.pos_embed)
        for block in self.blocks:
            x = block(x)
        return self.clip_projector(x)


def _patches(sizes: Sizes) -> nn.Module:
    kernel = (1, sizes.patch, sizes.patch)
    return nn.Conv3d(3, sizes.width, kernel, stride=kernel)


class _Block(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(sizes), _norm(sizes)
        self.attn, self.mlp = _Attention(sizes), _Mlp(sizes)
        self.ls1, self.ls2 = _Scale(sizes), _Scale(sizes)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _Attention(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width, bias=False)
        self.q_norm, self.k_norm = _norm(sizes), _norm(sizes)
        self.proj = nn.Linear(sizes.width, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.proj(_attended(self.q_norm(q), self.k_norm(k), v))


class _Mlp(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(sizes.width, sizes.hidden), nn.Linear(sizes.hidden, sizes.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _Scale(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(sizes.width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Pool(nn.Module):
    """The mean of all tokens looks at each of them."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm1_q, self.norm1_k, self.norm1_v = (nn.LayerNorm(sizes.width, eps=1e-5) for _ in range(3))
        self.cross_attn = _CrossAttention(sizes)

    def forward(self, x: Tensor) -> Tensor:
        query = self.norm1_q(x.mean(dim=1, keepdim=True))
        return self.cross_attn(query, self.norm1_k(x), self.norm1_v(x))[:, 0]


class _CrossAttention(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.q_bias, self.k_bias, self.v_bias = (nn.Parameter(torch.empty(width)) for _ in range(3))
        self.proj = nn.Linear(width, sizes.pooled)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return self.proj(_attended(self.q(q) + self.q_bias, self.k(k) + self.k_bias, self.v(v) + self.v_bias))


def _norm(sizes: Sizes) -> nn.Module:
    return nn.RMSNorm(sizes.width, eps=1e-6)


def _attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of queries [b, n, c] to keys and values [b, m, c], in heads of c / 16."""
    q, k, v = (each.unflatten(-1, (_HEADS, -1)).transpose(1, 2) for each in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
