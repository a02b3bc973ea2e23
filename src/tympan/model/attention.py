"""Multi-head attention with Hugging Face's parameter names (Vaswani et al. 2017, section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tympan.model.cache import LayerKeysValues


class Attention(nn.Module):
    """Scaled dot-product attention of H heads; as always in Whisper, keys have no bias."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def project_keys_values(self, states: Tensor) -> LayerKeysValues:
        """Keys and values [N, H, T, K] of `states` [N, T, D]."""
        return LayerKeysValues(self._split_heads(self.k_proj(states)), self._split_heads(self.v_proj(states)))

    def forward(self, states: Tensor, remembered: LayerKeysValues, *, causal: bool = False) -> Tensor:
        """What each position of `states` [N, T, D] finds in `remembered`: [N, T, D].

        With `causal`, the T positions are the last of those remembered, and none looks ahead of itself.
        """
        queries = self._split_heads(self.q_proj(states))  # [N, H, T, K]
        n_queries, n_keys = queries.shape[2], remembered.keys.shape[2]
        if causal and 1 < n_queries < n_keys:
            mask = queries.new_ones(n_queries, n_keys).tril(n_keys - n_queries).bool()
            found = F.scaled_dot_product_attention(
                queries, remembered.keys, remembered.values, attn_mask=mask
            )
        else:
            found = F.scaled_dot_product_attention(
                queries, remembered.keys, remembered.values, is_causal=causal and n_queries > 1
            )
        merged: Tensor = self.out_proj(found.transpose(1, 2).flatten(2))  # [N, T, D]
        return merged

    def _split_heads(self, projected: Tensor) -> Tensor:
        """[N, T, D] as [N, H, T, K]."""
        return projected.view(*projected.shape[:2], self.n_heads, -1).transpose(1, 2)
