"""Attention injection of prompt-to-prompt: an edited image made with the attention of its source image.

After Hertz et al., 2022. Both images are in the same call of the model. With p the probabilities of the
source's row of the batch, p' those of the edited row, M the map from the source's text positions to the
edited prompt's, and α_j 1 where position j of the edited prompt has counterparts and 0 where it is new, the
edited image's probabilities become

    α_j·(p·M)_j + (1 − α_j)·p'_j

not renormalized, as in the original. No matrix of probabilities is written: the sum over j of these times the
values v'_j equals two calls of fused attention,

    attention(q, k, M·(α·v')) + attention(q', k', (1 − α)·v'),

exact in any kernel, the second needed only where a position is new. In the image's self-attention the
source's probabilities replace the edited row's: the source's queries and keys are used with the edited row's
values. In joint attention both happen at once, for the image's queries only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from promptweight.attention.kernels.sdpa import attend, compute_columns, gather_columns


@dataclass(frozen=True)
class AttentionInjection:
    """Exchange of attention between rows of the batch in one call of the model."""

    source_rows: Tensor
    """Batch rows whose attention is used: (n,) int64."""
    edited_rows: Tensor
    """Batch rows that use it: (n,) int64."""
    mapping: Tensor | None
    """M transposed, (n, 1, keys of the edited prompt, keys of the source); None where the words of the edited
    image keep their own attention."""
    injects_self_attention: bool
    """True if the image's self-attention is the source's too."""
    maps_all_positions: bool
    """True if every position of the edited text has counterparts, so that α is 1 everywhere."""

    @property
    def alpha(self) -> Tensor:
        """1 for text positions with counterparts, 0 for others: (n, 1, keys of the edited prompt, 1)."""
        assert self.mapping is not None
        return (self.mapping.sum(-1, keepdim=True) > 0).to(self.mapping.dtype)

    def copy_source_rows(self, tensor: Tensor) -> Tensor:
        """Return queries or keys (batch, heads, positions, dim) with the source's rows in the edited rows."""
        return tensor.index_copy(0, self.edited_rows, tensor.index_select(0, self.source_rows))

    def select_rows(self, rows: slice) -> AttentionInjection:
        """Return the injection within a range of the batch, whose rows are counted from its first."""
        inside = (self.edited_rows >= rows.start) & (self.edited_rows < rows.stop)
        return replace(
            self,
            source_rows=self.source_rows[inside] - rows.start,
            edited_rows=self.edited_rows[inside] - rows.start,
            mapping=None if self.mapping is None else self.mapping[inside],
        )

    def inject_output(
        self,
        output: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        image: slice,
        image_keys: slice,
        text: slice,
    ) -> Tensor:
        """Return the output of attention with the injection in the edited rows' image queries.

        Args:
            output: attention's output without the injection, (batch, heads, queries, dim).
            query: (batch, heads, queries, dim).
            key: (batch, heads, keys, dim).
            value: (batch, heads, keys, dim).
            bias: added to the logits, broadcastable to (batch, heads, queries, keys).
            image: range of the image's queries.
            image_keys: range of the image's keys, in joint attention.
            text: range of the text's keys.
        """
        is_joint = text.stop - text.start < key.shape[2]
        if self.mapping is None and not (is_joint and self.injects_self_attention):
            return output
        values = value.index_select(0, self.edited_rows)
        own, injected = values.clone(), torch.zeros_like(values)
        if self.mapping is not None:
            alpha = self.alpha.to(value.dtype)
            words = values[:, :, text]
            own[:, :, text] = words * (1 - alpha)
            injected[:, :, text] = self.mapping.to(value.dtype).transpose(-1, -2) @ (words * alpha)
        if is_joint and self.injects_self_attention:
            own[:, :, image_keys], injected[:, :, image_keys] = 0, values[:, :, image_keys]
        attended = self._attend(self.source_rows, query, key, injected, bias, image)
        covered = text.stop - text.start + (image.stop - image.start if is_joint else 0)
        is_complete = self.mapping is not None and self.maps_all_positions and covered == key.shape[2]
        if not (is_complete and (self.injects_self_attention or not is_joint)):
            attended = attended + self._attend(self.edited_rows, query, key, own, bias, image)
        changed = output.index_select(0, self.edited_rows)
        changed[:, :, image] = attended
        return output.index_copy(0, self.edited_rows, changed)

    def inject_columns(
        self,
        probabilities: Tensor,
        query: Tensor,
        key: Tensor,
        lse: Tensor,
        columns: Tensor,
        bias: Tensor | None,
        rows: Tensor | None,
        text: slice,
    ) -> Tensor:
        """Return text columns of the softmax with the injection in the edited rows.

        Args:
            probabilities: the columns without the injection, (rows, heads, queries, n) float32.
            query: as in `inject_output`, the image's only.
            key: as in `inject_output`.
            lse: the log-sum-exp of the logits, (batch, heads, queries).
            columns: text positions of the columns, (rows, n) int64, counted from the text's first.
            bias: as in `inject_output`, for these queries.
            rows: batch rows of `probabilities`; all when None.
            text: as in `inject_output`.
        """
        if self.mapping is None:
            return probabilities
        rows = torch.arange(len(query), device=query.device) if rows is None else rows
        positions = torch.arange(text.start, text.stop, device=query.device)
        source = compute_columns(query, key, lse, positions, bias=bias, rows=self.source_rows)
        mapped = source @ self.mapping.float().transpose(-1, -2)  # (n, heads, queries, keys of the edited)
        is_edited = rows[:, None] == self.edited_rows[None]
        edit = is_edited.to(torch.int64).argmax(1)
        alpha = self.alpha.float().transpose(-1, -2).index_select(0, edit)
        alpha = gather_columns(alpha, columns, dim=3)
        mapped = gather_columns(mapped.index_select(0, edit), columns, dim=3)
        blended = alpha * mapped + (1 - alpha) * probabilities
        return torch.where(is_edited.any(1)[:, None, None, None], blended, probabilities)

    def _attend(
        self, rows: Tensor, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, image: slice
    ) -> Tensor:
        if bias is not None:
            bias = bias.expand(query.shape[0], *bias.shape[1:]).index_select(0, rows)
            bias = bias if bias.shape[2] == 1 else bias[:, :, image]
        queries = query[:, :, image].index_select(0, rows)
        return attend(queries, key.index_select(0, rows), value, bias=bias)[0]
