"""`promptweight.compat.Compel` against golden numbers of compel, and against compel where it is installed."""

import json
from pathlib import Path

import pytest
import torch

from promptweight import compat
from promptweight.compat import Compel, CompelForSD, CompelForSDXL, ReturnedEmbeddingsType, SplitLongTextMode
from promptweight.conditioning import encode
from promptweight.errors import SettingError
from tests.compat import compel_goldens as cases

FOLDER = Path(__file__).resolve().parent


def assert_equal_numbers(found, expected):
    assert found.keys() == expected.keys()
    for case, numbers in expected.items():
        assert found[case]["shape"] == numbers["shape"], case
        assert found[case]["mean"] == pytest.approx(numbers["mean"], abs=1e-4), case
        for row, values in zip(found[case]["values"], numbers["values"], strict=True):
            assert row == pytest.approx(values, rel=1e-4, abs=1e-4), case


def test_embeddings_equal_the_golden_numbers_of_compel(sd, sdxl, flux):
    expected = json.loads((FOLDER / "compel.json").read_text(encoding="utf-8"))
    assert_equal_numbers(cases.encode_all(compat, sd, sdxl, flux), expected)


def test_embeddings_and_tokens_equal_those_of_compel_itself(make_sd):
    compel = pytest.importorskip("compel", reason="compel is not installed (pip install --no-deps compel)")
    pipe = make_sd()
    cases.add_text_model(pipe.text_encoder)
    for truncate in (True, False):
        for name in cases.TYPES:
            ours, theirs = (
                library.Compel(
                    pipe.tokenizer,
                    pipe.text_encoder,
                    truncate_long_prompts=truncate,
                    returned_embeddings_type=library.ReturnedEmbeddingsType[name],
                )
                for library in (compat, compel)
            )
            prompts = list(cases.PROMPTS)
            found, ids = ours(prompts, return_tokenization=True)
            expected, expected_ids = theirs(prompts, return_tokenization=True)
            assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)
            assert all(torch.equal(a, b) for a, b in zip(ids, expected_ids, strict=True))


def test_members_of_compels_own_enumerations_are_taken(sd):
    compel = pytest.importorskip("compel", reason="compel is not installed (pip install --no-deps compel)")
    found, expected = (
        Compel(
            sd.tokenizer,
            sd.text_encoder,
            returned_embeddings_type=library.ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
            split_long_text_mode=library.SplitLongTextMode.WORDS,
            downweight_mode=library.DownweightMode.MASK,
        )("um gato")
        for library in (compel, compat)
    )
    assert torch.equal(found, expected)


def test_prompt_without_weights_has_the_embeddings_of_the_pipeline(sd, sdxl):
    plain = encode(sd, "um gato", "mel", dialect="plain")
    found = CompelForSD(sd)("um gato", "mel")
    assert torch.equal(found.embeds, plain["prompt_embeds"])
    assert torch.equal(found.negative_embeds, plain["negative_prompt_embeds"])
    assert found.pooled_embeds is found.negative_pooled_embeds is None
    plain = encode(sdxl, "um gato", "mel", dialect="plain")
    found = CompelForSDXL(sdxl)("um gato", negative_prompt="mel")
    assert torch.equal(found.embeds, plain["prompt_embeds"])
    assert torch.equal(found.negative_embeds, plain["negative_prompt_embeds"])
    assert torch.equal(found.pooled_embeds, plain["pooled_prompt_embeds"])
    assert torch.equal(found.negative_pooled_embeds, plain["negative_pooled_prompt_embeds"])


def test_wrappers_repeat_one_negative_prompt_and_list_the_tokens(sd):
    found = CompelForSD(sd)(["um gato", "cor", "gato " * 90], "x")
    assert found.embeds.shape == found.negative_embeds.shape == (3, 154, 32)
    assert torch.equal(found.negative_embeds[0], found.negative_embeds[2])
    assert [len(ids[0]) for ids in found.tokenization_info["main_positive"]] == [77, 77, 154]
    assert len(found.tokenization_info["main_negative"]) == 1
    assert CompelForSD(sd)("um gato").negative_embeds is None


def test_pooled_vector_is_that_of_the_text_without_its_syntax(sdxl):
    compel = Compel(
        sdxl.tokenizer_2,
        sdxl.text_encoder_2,
        returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
        requires_pooled=True,
    )
    assert torch.equal(compel("um (gato)1.5 cor++")[1], compel("um gato cor")[1])
    assert not torch.equal(compel("um (gato)1.5 cor++")[0], compel("um gato cor")[0])


def test_embeddings_are_padded_with_empty_chunks(sd):
    compel = Compel(sd.tokenizer, sd.text_encoder, truncate_long_prompts=False)
    long, short, empty = compel("gato " * 90), compel("um gato"), compel("")
    padded = compel.pad_conditioning_tensors_to_same_length([long, short])
    assert torch.equal(padded[0], long)
    assert torch.equal(padded[1], torch.cat([short, empty], 1))
    chosen = compel.pad_conditioning_tensors_to_same_length([long, short], torch.ones(77, 32))
    assert torch.equal(chosen[1][:, 77:], torch.ones(1, 77, 32))
    same = compel.pad_conditioning_tensors_to_same_length([short, empty])
    assert same[0] is short
    assert same[1] is empty


def test_tensors_of_other_shapes_are_not_padded(sd):
    compel = Compel(sd.tokenizer, sd.text_encoder)
    with pytest.raises(SettingError, match="same number of prompts and of channels"):
        compel.pad_conditioning_tensors_to_same_length([torch.zeros(1, 77, 32), torch.zeros(1, 77, 40)])
    with pytest.raises(SettingError, match="whole chunks of 77"):
        compel.pad_conditioning_tensors_to_same_length([torch.zeros(1, 77, 32), torch.zeros(1, 80, 32)])


def test_text_encoder_encodes_each_distinct_text_once_in_a_call(sd):
    compel = Compel(sd.tokenizer, sd.text_encoder)
    encoded = []
    hook = sd.text_encoder.register_forward_pre_hook(
        lambda _module, args, kwargs: encoded.append((args[0], kwargs["attention_mask"])), with_kwargs=True
    )
    try:
        compel(["um (gato)0.8", "um gato", ""])
        assert len(encoded) == 3  # the text, the text without the weighted word, the empty text
        encoded.clear()
        compel("um gato")
        assert len(encoded) == 1
    finally:
        hook.remove()


def test_changes_of_the_text_encoder_reach_later_prompts(make_sd):
    pipe = make_sd()
    compel = Compel(pipe.tokenizer, pipe.text_encoder)
    before = compel("um gato")
    with torch.no_grad():
        pipe.text_encoder.final_layer_norm.bias += 1
    assert not torch.equal(compel("um gato"), before)


def test_tokens_of_a_text_are_listed(sd):
    compel = Compel(sd.tokenizer, sd.text_encoder)
    assert compel.describe_tokenization("um gato") == ["um</w>", "gato</w>"]
    assert compel.get_tokens("um gato") == sd.tokenizer("um gato").input_ids[1:-1]


def test_length_of_a_chunk_can_be_chosen(sd):
    compel = Compel(sd.tokenizer, sd.text_encoder, model_max_length=20, truncate_long_prompts=False)
    assert compel("um gato").shape == (1, 20, 32)
    assert compel("gato " * 30).shape == (1, 40, 32)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("textual_inversion_manager", object()),
        ("dtype_for_device_getter", lambda device: torch.float16),
        ("padding_attention_mask_value", 0),
        ("downweight_mode", compat.DownweightMode.REMOVE),
        ("downweight_mode", "mask"),
        ("suppress_eos", True),
        ("split_long_text_mode", SplitLongTextMode.SENTENCES | SplitLongTextMode.MERGE_CLS_TOKENS),
        ("split_long_text_mode", "words"),
        ("returned_embeddings_type", 2),
        ("returned_embeddings_type", [ReturnedEmbeddingsType.POOLED] * 2),
        ("requires_pooled", [False, True]),
        ("model_max_length", 2),
    ],
)
def test_argument_that_cannot_be_followed_raises_its_name(sd, name, value):
    with pytest.raises(SettingError, match=name):
        Compel(sd.tokenizer, sd.text_encoder, **{name: value})


def test_lists_of_text_encoders_are_checked(sdxl):
    tokenizers, models = [sdxl.tokenizer, sdxl.tokenizer_2], [sdxl.text_encoder, sdxl.text_encoder_2]
    with pytest.raises(SettingError, match="tokenizer must have 2 values; got 1"):
        Compel(sdxl.tokenizer, models)
    with pytest.raises(SettingError, match="requires_pooled"):
        Compel(tokenizers, models, requires_pooled=True)
    with pytest.raises(SettingError, match="returned_embeddings_type"):
        Compel(tokenizers, models, returned_embeddings_type=[ReturnedEmbeddingsType.POOLED] * 2)


def test_missing_text_encoder_raises(sd):
    for tokenizer, model in ((None, sd.text_encoder), ([], [])):
        with pytest.raises(SettingError, match="tokenizer must not be None"):
            Compel(tokenizer, model)
    with pytest.raises(SettingError, match="text_encoder must not be None"):
        Compel(sd.tokenizer, None)


def test_text_that_is_no_tensor_raises(sd, sdxl):
    compel = Compel(sd.tokenizer, sd.text_encoder)
    with pytest.raises(SettingError, match=r"\.swap\(\)"):
        compel('um "gato".swap("cor")')
    with pytest.raises(SettingError, match="prompt must be text"):
        compel([3])
    with pytest.raises(SettingError, match="at least one prompt"):
        compel([])
    with pytest.raises(SettingError, match="negative_prompt must hold 1 or 2"):
        CompelForSD(sd)(["um", "gato"], ["x", "cor", "mel"])
    with pytest.raises(SettingError, match="style_prompt must have 1 values; got 2"):
        CompelForSDXL(sdxl)("um", ["gato", "cor"])


def test_textual_inversions_of_several_vectors_are_expanded(make_sd):
    pipe = make_sd()
    pipe.load_textual_inversion({"<toy>": torch.randn(3, 32, generator=torch.Generator().manual_seed(0))})
    manager = compat.DiffusersTextualInversionManager(pipe)
    found = CompelForSD(pipe, manager)("um <toy> gato").embeds
    with torch.no_grad():
        expected = pipe.encode_prompt("um <toy> gato", torch.device("cpu"), 1, False)[0]
    assert torch.equal(found, expected)
    assert torch.equal(CompelForSD(pipe)("um <toy> gato").embeds, expected)
