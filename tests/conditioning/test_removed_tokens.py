"""Removal of tokens from what a text encoder reads, against encodings of texts that never had them."""

import pytest
import tiny_models
import torch

from promptweight.conditioning.numbered_tokens import watch_encoder
from promptweight.conditioning.removed_tokens import remove_tokens

IDS = torch.tensor([[5, 9, 12, 7, 1, 0, 0], [8, 6, 5, 11, 9, 13, 1]])
"""Two texts; the first ends with padding."""
MASK = (IDS != 0).long()
HIDDEN = {(0, 0): {1}, (0, 1): {0, 3}}


@pytest.fixture(scope="module")
def model():
    return tiny_models.t5_encoder(tiny_models.t5_tokenizer()).eval()


def call_by_position(model):
    return model(IDS, MASK).last_hidden_state


def call_by_name(model):
    return model(input_ids=IDS, attention_mask=MASK).last_hidden_state


@torch.no_grad()
def remove(model, call):
    """Return the rows of both texts, whole and without their hidden tokens."""
    with watch_encoder(model) as calls:
        whole = call(model)
    with remove_tokens(model, calls, HIDDEN):
        return whole, call(model)


@pytest.mark.parametrize("call", [call_by_position, call_by_name])
@pytest.mark.parametrize("compiled", [False, True])
def test_other_rows_are_those_of_the_text_without_the_tokens(model, call, compiled):
    wrapped = torch.compile(model, backend="eager") if compiled else model
    whole, found = remove(wrapped, call)
    for text, hidden in ((0, {1}), (1, {0, 3})):
        kept = [index for index in range(len(IDS[text])) if MASK[text, index] and index not in hidden]
        with torch.no_grad():
            shorter = model(IDS[text, kept][None]).last_hidden_state[0]
        torch.testing.assert_close(found[text, kept], shorter)
        assert torch.equal(found[text, list(hidden)], whole[text, list(hidden)])
    torch.compiler.reset()


def test_text_encoder_is_itself_again_after_an_error(model):
    own = dict(vars(model))
    with watch_encoder(model) as calls, torch.no_grad():
        call_by_name(model)
    with pytest.raises(IndexError), remove_tokens(model, calls, {(0, 0): {99}}), torch.no_grad():
        call_by_name(model)
    assert vars(model).keys() == own.keys()
    assert not model._forward_hooks
