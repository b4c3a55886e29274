"""Prompt-to-prompt: one picture made with another's attention, both in the same call of the model.

After Hertz et al., 2022. With p the probabilities of the source picture's row of the batch, p' those of the
edited one's, M the map from the source's text positions to the edited one's, and α_j 1 where position j of
the edited prompt has counterparts and 0 where it is new, the edited picture's probabilities become

    α_j·(p·M)_j + (1 − α_j)·p'_j

not renormalized, as in the original. No matrix of probabilities is written for that: the sum over j of these
times the values v'_j is that of two calls of fused attention,

    attention(q, k, M·(α·v')) + attention(q', k', (1 − α)·v'),

exact in any kernel, the second needed only where something is new. Where the image attends to itself the
source's probabilities are taken whole: its queries and keys are used with the edited picture's values. In
joint attention both happen at once, for the image's queries only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from promptweight.attention.kernels.sdpa import attend, compute_columns, gather_columns


@dataclass(frozen=True)
class AttentionInjection:
    """What an edit does in one call of the model, or in the layers of one grid."""

    source: Tensor
    """The rows of the batch whose attention is taken: (n,) int64."""
    edited: Tensor
    """The rows that it is given to: (n,) int64."""
    mapping: Tensor | None
    """M transposed, (n, 1, keys of the edited prompt, keys of the source): None where the words of the edited
    picture keep their own attention."""
    takes_image: bool
    """Whether the image's attention to itself is the source's too."""
    is_whole: bool
    """Whether nothing of the edited text is new, so that α is 1 everywhere."""

    @property
    def alpha(self) -> Tensor:
        """1 for text positions with counterparts, 0 for others: (n, 1, keys of the edited prompt, 1)."""
        assert self.mapping is not None
        return (self.mapping.sum(-1, keepdim=True) > 0).to(self.mapping.dtype)

    def with_image_of_source(self, tensor: Tensor) -> Tensor:
        """Queries or keys (batch, heads, positions, dim) in which the edited rows are the source's."""
        return tensor.index_copy(0, self.edited, tensor.index_select(0, self.source))

    def output(
        self,
        output: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        image: slice,
        text: slice,
    ) -> Tensor:
        """The output of attention with the edited rows' image queries attending as the edit says.

        Args:
            output: what attention gives without the edit, (batch, heads, queries, dim).
            query: (batch, heads, queries, dim).
            key: (batch, heads, keys, dim).
            value: (batch, heads, keys, dim).
            bias: added to the logits, broadcastable to (batch, heads, queries, keys).
            image: which of the queries are the image's; in joint attention also which of the keys.
            text: which of the keys are the text's.
        """
        is_joint = text.stop - text.start < key.shape[2]
        if self.mapping is None and not (is_joint and self.takes_image):
            return output
        values = value.index_select(0, self.edited)
        kept, taken = values.clone(), torch.zeros_like(values)
        if self.mapping is not None:
            alpha = self.alpha.to(value.dtype)
            words = values[:, :, text]
            kept[:, :, text] = words * (1 - alpha)
            taken[:, :, text] = self.mapping.to(value.dtype).transpose(-1, -2) @ (words * alpha)
        if is_joint and self.takes_image:
            kept[:, :, image], taken[:, :, image] = 0, values[:, :, image]
        attended = self._attend(self.source, query, key, taken, bias, image)
        if not (self.mapping is not None and self.is_whole and (self.takes_image or not is_joint)):
            attended = attended + self._attend(self.edited, query, key, kept, bias, image)
        changed = output.index_select(0, self.edited)
        changed[:, :, image] = attended
        return output.index_copy(0, self.edited, changed)

    def columns(
        self,
        found: Tensor,
        query: Tensor,
        key: Tensor,
        lse: Tensor,
        columns: Tensor,
        bias: Tensor | None,
        rows: Tensor | None,
        text: slice,
    ) -> Tensor:
        """Text columns of the softmax, with those of the edited rows as the edit makes them.

        Args:
            found: the columns without the edit, (rows, heads, queries, n) float32.
            query: as in `output`, the image's alone.
            key: as in `output`.
            lse: the log-sum-exp of the logits, (batch, heads, queries).
            columns: which text positions were asked for, (rows, n) int64, from the text's first.
            bias: as in `output`, for these queries.
            rows: the rows of the batch that `found` is of; all when None.
            text: as in `output`.
        """
        if self.mapping is None:
            return found
        rows = torch.arange(len(query), device=query.device) if rows is None else rows
        positions = torch.arange(text.start, text.stop, device=query.device)
        source = compute_columns(query, key, lse, positions, bias=bias, rows=self.source)
        mapped = source @ self.mapping.float().transpose(-1, -2)  # (n, heads, queries, keys of the edited)
        same = rows[:, None] == self.edited[None]
        edit = same.to(torch.int64).argmax(1)
        alpha = self.alpha.float().transpose(-1, -2).index_select(0, edit)
        alpha = gather_columns(alpha, columns, dim=3)
        blended = alpha * gather_columns(mapped.index_select(0, edit), columns, dim=3) + (1 - alpha) * found
        return torch.where(same.any(1)[:, None, None, None], blended, found)

    def _attend(
        self, rows: Tensor, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, image: slice
    ) -> Tensor:
        if bias is not None:
            bias = bias.expand(query.shape[0], *bias.shape[1:]).index_select(0, rows)
            bias = bias if bias.shape[2] == 1 else bias[:, :, image]
        queries = query[:, :, image].index_select(0, rows)
        return attend(queries, key.index_select(0, rows), value, bias=bias)[0]
