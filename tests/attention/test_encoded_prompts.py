"""Sessions on prompts as text, with a pipeline's own tokenizer and text encoder."""

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from promptweight.attention import attach
from promptweight.conditioning import encode, encode_prompts


@pytest.fixture
def pipe(tiny):
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(letter + "</w>" for letter in letters), "um</w>", "ga", "to</w>", "gato</w>"]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    merges = [("u", "m</w>"), ("g", "a"), ("t", "o</w>"), ("ga", "to</w>")]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=20)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=20,
        bos_token_id=len(pieces) - 2,
        eos_token_id=len(pieces) - 1,
    )
    pipe = StableDiffusionPipeline(
        vae=tiny.vae(),
        text_encoder=CLIPTextModel(config).eval(),
        tokenizer=tokenizer,
        unet=tiny.unet(),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_method_on_embeddings_uses_the_encoded_prompt(pipe, tiny):
    prompt, negative = "um (gato:1.4) vermelho", "feio"
    plain = tiny.run(pipe, encode(pipe, prompt, negative, weighting="scale"))
    encoded = encode_prompts(pipe, prompt, negative, weighting="scale", in_session=True)
    for given, options in (((prompt, negative), {"weighting": "scale"}), ((encoded,), {})):
        with attach(pipe, *given, **options) as session:
            assert torch.equal(tiny.run(pipe, session.inputs), plain)
        assert [word.text for word in session.maps.words] == ["um", "gato", "vermelho"]
        assert session.maps.word("vermelho").mass > session.maps.word("um").mass  # eight pieces to one


def test_attention_weights_the_text_without_weights(pipe, tiny):
    clean = encode_prompts(pipe, "um gato vermelho", "feio", in_session=True)
    with attach(pipe, "um (gato:0) vermelho", "feio", weighting="attention") as session:
        for name, embeds in clean.inputs.items():
            assert torch.equal(session.inputs[name], embeds)
        actual = tiny.run(pipe, session.inputs)
    assert session.maps.word("gato").mass == 0
    assert session.warnings == []
    with attach(pipe, clean) as session:
        session.set_weight("gato", 0)
        assert torch.equal(tiny.run(pipe, session.inputs), actual)


def test_option_of_one_word_acts_in_attention_while_others_act_in_embeddings(pipe, tiny):
    prompt = "um (gato:0{weighting=attention, steps=0-0.5}) (vermelho:1.3)"
    with attach(pipe, prompt, "feio", weighting="scale") as session:
        tiny.run(pipe, session.inputs, num_inference_steps=4)
    alone = encode(pipe, "um gato (vermelho:1.3)", "feio", weighting="scale")
    assert torch.equal(session.inputs["prompt_embeds"], alone["prompt_embeds"])
    assert session.maps.word("gato").mass > 0
    assert session.warnings == []


def test_several_prompts_of_several_chunks_are_recorded(pipe, tiny):
    prompts = ["um gato vermelho, um gato vermelho, um gato", "um (gato:2)"]
    with attach(pipe, prompts, "feio", weighting="attention") as session:
        tiny.run(pipe, session.inputs, num_images_per_prompt=2)
    maps = session.maps
    assert session.tables["positive"][1].chunks > 1
    assert maps.word("gato", occurrence=2, image=1).mass > 0
    assert [word.text for word in maps.list_words(image=3)] == ["um", "gato"]
    total = maps.beginning(3).mass + maps.rest(3).mass + maps.word("um gato", image=3).mass
    assert total == pytest.approx(1, abs=1e-5)
