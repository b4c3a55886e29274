"""Rules that combine layers and heads, against their definitions on recordings made by hand."""

import torch

from promptweight.evaluation.map_rules import apply_rule


def make_query_and_key(heads: int, columns: int, dim: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    query = torch.randn(heads, 5 * 4, dim, generator=generator)
    key = torch.randn(heads, columns, dim, generator=generator)
    return query, key


def test_concepts_rule_is_softmax_over_whole_vectors(recorded):
    """From queries and keys: heads joined to one vector, a product, a softmax over the words."""
    query, key = make_query_and_key(3, 5)
    p = (query @ key.mT / 2).softmax(-1)  # 1/√dim
    maps = recorded("um gato e rato", [p.unflatten(1, (5, 4))])
    logits = (query.transpose(0, 1).flatten(1) @ key.transpose(0, 1).flatten(1).T / 2)[:, 1:]
    expected = logits.softmax(-1)[:, 1].unflatten(0, (5, 4))
    torch.testing.assert_close(apply_rule(maps, "gato", "concepts")[::4, ::4], expected)


def test_rules_sum_or_average_heads_over_all_layers(recorded):
    query, key = make_query_and_key(3, 5)
    first = (query @ key.mT / 2).softmax(-1).unflatten(1, (5, 4))
    second = first.flip(0, 3)[:1]
    maps = recorded("um gato e rato", [first, second], pixels=1)
    summed = (first[..., 2].sum(0) + second[..., 2].sum(0)) / 2
    torch.testing.assert_close(apply_rule(maps, "gato", "heads summed"), summed)
    every_head = torch.cat([first[..., 2], second[..., 2]]).mean(0)
    torch.testing.assert_close(apply_rule(maps, "gato", "daam"), every_head)
    mean = (first[..., 2].mean(0) + second[..., 2].mean(0)) / 2
    torch.testing.assert_close(apply_rule(maps, "gato", "probability"), mean)
