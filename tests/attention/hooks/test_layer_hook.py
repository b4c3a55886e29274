"""Hook of one layer against a float64 softmax: masks, grouped heads, positions beside image and text."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from promptweight.attention.control.attention_injection import AttentionInjection
from promptweight.attention.control.regions import make_region
from promptweight.attention.control.rules import AttentionTerms, KeyRule, KeyRules
from promptweight.attention.hooks.layer_hook import LayerHook
from promptweight.errors import AttachError

TEXT, GRID, MORE = 20, (6, 4), 7
CELLS = math.prod(GRID)
WEIGHTS = {3: 4.0, 5: 0.0, 8: -2.0}
RECORDED = (2, 3, 5)

TEXT_FIRST = slice(0, TEXT)
LAYOUTS = {
    # order of the layer, queries, keys, the image's range of the queries and the text's of the keys
    "cross": ("cross", CELLS, TEXT, slice(0, CELLS), TEXT_FIRST),
    "cross with more keys": ("cross", CELLS, TEXT + MORE, slice(0, CELLS), TEXT_FIRST),
    "image first": ("image first", CELLS + TEXT, CELLS + TEXT, slice(0, CELLS), slice(CELLS, CELLS + TEXT)),
    "text first": ("text first", TEXT + CELLS, TEXT + CELLS, slice(TEXT, TEXT + CELLS), TEXT_FIRST),
    "image queries, image first": (
        "image first",
        CELLS,
        CELLS + TEXT,
        slice(0, CELLS),
        slice(CELLS, CELLS + TEXT),
    ),
    "image queries, text first": ("text first", CELLS, TEXT + CELLS, slice(0, CELLS), TEXT_FIRST),
    "second image, image first": (
        "image first",
        CELLS + MORE + TEXT,
        CELLS + MORE + TEXT,
        slice(0, CELLS),
        slice(CELLS + MORE, CELLS + MORE + TEXT),
    ),
    "second image, text first": (
        "text first",
        TEXT + CELLS + MORE,
        TEXT + CELLS + MORE,
        slice(TEXT, TEXT + CELLS),
        TEXT_FIRST,
    ),
}


class Recorded:
    """Slot that keeps what it was given last."""

    def add(self, probabilities, indices):
        self.probabilities = probabilities


def draw(queries, keys, heads=4, key_heads=4, dim=16):
    generator = torch.Generator().manual_seed(queries + keys)
    shapes = [(2, heads, queries, dim), (2, key_heads, keys, dim), (2, key_heads, keys, dim)]
    return [torch.randn(shape, generator=generator) * 1.3 for shape in shapes]


def make_hook(order, rules, region=None):
    """Make a hook whose call weights the first row of the batch, and records both."""
    hook = LayerHook(order=order)
    keys = {key: KeyRule(weight, region=region and make_region(region)) for key, weight in rules.items()}
    call = hook.call
    call.terms = KeyRules([keys, {}], TEXT).terms_at([0, 1], 0, 1, GRID, torch.device("cpu"))
    call.text_length, call.cells = TEXT, CELLS
    call.recorded_rows = call.slot_indices = torch.arange(2)
    call.recorded_columns = torch.tensor([RECORDED] * 2)
    hook.word_slot = Recorded()
    return hook


def expected_attention(query, key, value, layout, rules, mask=None, left=False):
    """Compute output and probabilities of the first row weighted, in float64."""
    query, key, value = (each.double() for each in (query, key, value))
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, 1) for each in (key, value))
    logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    image, text = layout[3], layout[4]
    values = value[:, :, None].expand(-1, -1, query.shape[2], -1, -1).clone()
    weights = torch.ones(query.shape[2], key.shape[2], dtype=torch.float64)
    for position, weight in rules.items():
        queries = torch.ones(query.shape[2], dtype=torch.bool)
        if left:
            queries[:] = False
            queries[image].view(GRID)[:, : GRID[1] // 2] = True
        weights[queries, text.start + position] = abs(weight)
        if weight < 0:
            values[0, :, queries, text.start + position] *= -1
    logits[0] += weights.log()
    probabilities = logits.softmax(-1)
    return (probabilities.unsqueeze(-2) @ values).squeeze(-2), probabilities


def assert_exact(output, hook, layout, expected):
    output_expected, probabilities = expected
    assert (output - output_expected).abs().max() < 1e-5
    columns = probabilities[:, :, layout[3], layout[4]][..., list(RECORDED)]
    assert (hook.word_slot.probabilities - columns).abs().max() < 1e-5


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("region", [None, "left"])
def test_weights_and_columns_are_exact_wherever_image_and_text_are(name, region):
    layout = LAYOUTS[name]
    query, key, value = draw(*layout[1:3])
    hook = make_hook(layout[0], WEIGHTS, region)
    output = hook.attend(query, key, value)
    expected = expected_attention(query, key, value, layout, WEIGHTS, left=region is not None)
    assert_exact(output, hook, layout, expected)


@pytest.mark.parametrize("name", LAYOUTS)
def test_recording_changes_no_bit(name):
    layout = LAYOUTS[name]
    query, key, value = draw(*layout[1:3])
    hook = make_hook(layout[0], {})
    plain = F.scaled_dot_product_attention(query, key, value)
    assert torch.equal(hook.attend(query, key, value), plain)
    assert_exact(plain, hook, layout, expected_attention(query, key, value, layout, {}))


@pytest.mark.parametrize("name", ["cross", "image first", "text first"])
@pytest.mark.parametrize("rules", [{}, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("region", [None, "left"])
def test_boolean_masks_and_grouped_heads(name, rules, key_heads, masked, region):
    layout = LAYOUTS[name]
    query, key, value = draw(*layout[1:3], key_heads=key_heads)
    mask = None
    if masked:
        mask = torch.rand(2, 1, 1, layout[2], generator=torch.Generator().manual_seed(1)) < 0.7
        mask[..., layout[4].start + 2] = True
    hook = make_hook(layout[0], rules, region)
    output = hook.attend(query, key, value, mask=mask)
    if not rules:
        grouped = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, enable_gqa=key_heads != query.shape[1]
        )
        assert torch.equal(output, grouped)
    assert_exact(
        output, hook, layout, expected_attention(query, key, value, layout, rules, mask, region is not None)
    )


def test_numbers_of_keys_may_change_between_calls():
    """The same hook, with texts and images of several lengths."""
    hook = make_hook("image first", WEIGHTS)
    for more in (0, MORE, 1):
        layout = ("image first", *[CELLS + more + TEXT] * 2, slice(0, CELLS))
        layout = (*layout, slice(CELLS + more, CELLS + more + TEXT))
        query, key, value = draw(*layout[1:3])
        expected = expected_attention(query, key, value, layout, WEIGHTS)
        assert_exact(hook.attend(query, key, value), hook, layout, expected)


@pytest.mark.parametrize(
    ("order", "queries", "keys"),
    [
        ("cross", CELLS // 2, TEXT),
        ("cross", CELLS, TEXT - 1),
        ("image first", CELLS // 2 + TEXT, CELLS // 2 + TEXT),
        ("text first", CELLS, CELLS),
    ],
)
def test_merged_or_dropped_tokens_are_refused(order, queries, keys):
    """Tools that merge tokens change the positions of a layer."""
    query, key, value = draw(queries, keys)
    with pytest.raises(AttachError, match=rf"from {queries} positions to {keys}.* {CELLS} of the image"):
        make_hook(order, WEIGHTS).attend(query, key, value)


def test_merged_queries_are_weighted_where_no_place_matters():
    """Cross-attention without a region and without a recording needs no grid."""
    query, key, value = draw(CELLS // 2, TEXT)
    hook = make_hook("cross", WEIGHTS)
    hook.word_slot = None
    layout = ("cross", CELLS // 2, TEXT, slice(0, CELLS // 2), TEXT_FIRST)
    expected = expected_attention(query, key, value, layout, WEIGHTS)[0]
    assert (hook.attend(query, key, value) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("second image, image first", f"further tokens.*; got {MORE} beside {CELLS} of the image"),
        ("second image, text first", f"further tokens.*; got {MORE} beside {CELLS} of the image"),
    ],
)
def test_exchanged_attention_needs_image_and_text_alone(name, text):
    """Edits and negative prompts in attention know no other positions."""
    layout = LAYOUTS[name]
    hook = make_hook(layout[0], {})
    hook.call.injection = SimpleNamespace()
    with pytest.raises(AttachError, match=text):
        hook.attend(*draw(*layout[1:3]))


def test_negative_prompts_in_attention_need_queries_of_the_text_too():
    hook = make_hook("text first", {})
    hook.call.negative = SimpleNamespace()
    with pytest.raises(AttachError, match="the session expects"):
        hook.check_lengths(CELLS, CELLS + TEXT)


@pytest.mark.parametrize("maps_words", [True, False])
@pytest.mark.parametrize("name", ["image first", "image queries, image first", "image queries, text first"])
def test_edit_attends_with_the_probabilities_of_its_source(name, maps_words):
    order, queries, keys, image, text = LAYOUTS[name]
    query, key, value = draw(queries, keys)
    rows = {"source_rows": torch.tensor([0]), "edited_rows": torch.tensor([1])}
    mapping = torch.eye(TEXT)[None, None] if maps_words else None
    hook = make_hook(order, {})
    hook.call.injection = AttentionInjection(
        **rows, mapping=mapping, injects_self_attention=True, maps_all_positions=True
    )
    probabilities = (query.double() @ key.double().mT * query.shape[-1] ** -0.5).softmax(-1)
    edited = probabilities[1].clone()
    edited[:, image] = probabilities[0, :, image]
    if not maps_words:
        edited[..., text] = probabilities[1, ..., text]
    expected = torch.stack([probabilities[0], edited]) @ value.double()
    assert (hook.attend(query, key, value) - expected).abs().max() < 1e-5


def test_terms_say_whether_they_act_in_a_region():
    assert not AttentionTerms().is_regional
    assert make_hook("cross", {3: 2.0}, "left").call.terms.is_regional
    assert not make_hook("cross", {3: 2.0, 4: -1.0}).call.terms.is_regional
