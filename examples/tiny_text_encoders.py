"""Language models with tiny random weights, as text encoders of pipelines, and their tokenizers.

The tokenizer has each word of the templates of these pipelines as one token, as the real ones have.
"""

from __future__ import annotations

from typing import Any

import torch
from tiny_models import byte_letters, randomize
from tokenizers.processors import TemplateProcessing
from transformers import (
    Gemma2Config,
    Gemma2Model,
    GlmConfig,
    GlmModel,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    ProcessorMixin,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3Model,
    Qwen3VLConfig,
    Qwen3VLModel,
    T5GemmaConfig,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

WIDTH = 32
"""Width of the text encoders."""
WORDS = (
    "system user assistant Describe the image by detailing the color shape size texture quantity text "
    "spatial relationships of the objects and background um gato vermelho You are an designed to generate "
    "superior images with degree alignment based on textual prompts or Prompt Start"
)
"""Words that are one token, alone or after a space."""
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)
"""Template of a conversation."""
CONTENT_CHAT = CHAT.replace(
    "message.content", "message.content if message.content is string else message.content[0].text"
)
"""The same for messages whose content may be a list."""
PICTURE = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")
"""Tokens around a picture in a text, and the one that stands for a part of it."""
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
ROTARY = {"mrope_section": [2, 3, 3], "rope_type": "default", "rope_theta": 1e6}
"""Rotary positions of texts with pictures, in three parts."""


def sizes(tokenizer: Qwen2Tokenizer, **changes: int) -> dict[str, Any]:
    """Return the settings of a text model of two layers."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
    } | changes


def glm(tokenizer: Qwen2Tokenizer) -> GlmModel:
    """Make a GLM."""
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    return randomize(GlmModel(GlmConfig(**sizes(tokenizer), **ends)))


def qwen3(tokenizer: Qwen2Tokenizer, kind: Any = Qwen3Model, layers: int = 2) -> Any:
    """Make a Qwen3 with all heads of keys."""
    settings = sizes(tokenizer, num_hidden_layers=layers, num_key_value_heads=2)
    return randomize(kind(Qwen3Config(**settings)))


def gemma2(tokenizer: Qwen2Tokenizer) -> Gemma2Model:
    """Make a Gemma 2."""
    return randomize(Gemma2Model(Gemma2Config(**sizes(tokenizer), query_pre_attn_scalar=16)))


def t5gemma(tokenizer: Qwen2Tokenizer) -> T5GemmaEncoder:
    """Make the encoder of a T5Gemma."""
    settings = sizes(tokenizer) | {"query_pre_attn_scalar": 16}
    config = T5GemmaConfig(encoder=settings, decoder=settings)
    return randomize(T5GemmaEncoder(config.encoder))


def mistral3(tokenizer: Qwen2Tokenizer) -> Mistral3ForConditionalGeneration:
    """Make a Mistral 3 of 30 layers, with a vision model of one."""
    text = sizes(tokenizer, num_hidden_layers=30)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    config = Mistral3Config(text_config=text | {"model_type": "mistral"}, vision_config=vision)
    return randomize(Mistral3ForConditionalGeneration(config))


class TextProcessor(ProcessorMixin):
    """A processor with a tokenizer alone, in place of those that also take pictures and need torchvision."""

    def __init__(self, tokenizer: Qwen2Tokenizer) -> None:
        super().__init__(tokenizer)
        self.chat_template = CONTENT_CHAT


class PictureProcessor(ProcessorMixin):
    """A processor of pictures and texts without videos, for which Qwen2-VL's own needs torchvision."""

    image_token = PICTURE[1]

    def __init__(self, image_processor: Qwen2VLImageProcessorPil, tokenizer: Qwen2Tokenizer) -> None:
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        super().__init__(image_processor, tokenizer)

    def replace_image_token(self, image_inputs: dict[str, Any], image_idx: int, **_: Any) -> str:
        """Return a token for each group of patches of a picture, in place of its one token in the text."""
        patches = int(image_inputs["image_grid_thw"][image_idx].prod())
        return self.image_token * (patches // self.image_processor.merge_size**2)


def qwen_vl(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    """Make a Qwen2.5-VL with a vision model of one layer."""
    text = sizes(tokenizer, num_key_value_heads=2) | {"rope_parameters": ROTARY}
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "out_hidden_size": WIDTH,
        "patch_size": 14,
        "fullatt_block_indexes": [0],
    }
    picture = dict(
        zip(
            ("vision_start_token_id", "image_token_id", "vision_end_token_id"),
            tokenizer.convert_tokens_to_ids(list(PICTURE)),
            strict=True,
        )
    )
    known = {name: token for name, token in picture.items() if token is not None}
    torch.manual_seed(0)
    return randomize(
        Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **known))
    )


def qwen3_vl(tokenizer: Qwen2Tokenizer, kind: Any = Qwen3VLModel, layers: int = 2) -> Any:
    """Make a Qwen3-VL with a vision model of one layer."""
    text = sizes(tokenizer, num_hidden_layers=layers) | {"rope_parameters": ROTARY}
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "out_hidden_size": WIDTH,
        "deepstack_visual_indexes": [0],
        "num_position_embeddings": 16,
    }
    torch.manual_seed(0)
    return randomize(kind(Qwen3VLConfig(text_config=text, vision_config=vision)))


def qwen_tokenizer() -> Qwen2Tokenizer:
    """Make a Qwen2 tokenizer over bytes with `WORDS` as tokens."""
    words = WORDS.split()
    pieces = [*SPECIAL, *byte_letters(), *words, *("Ġ" + word for word in words)]
    tokenizer = Qwen2Tokenizer(
        vocab={piece: number for number, piece in enumerate(dict.fromkeys(pieces))},
        merges=[],
        extra_special_tokens=list(SPECIAL[1:]),
        model_max_length=4096,
        chat_template=CHAT,
    )
    tokenizer.backend_tokenizer.model.ignore_merges = True  # a word in the vocabulary is one token
    return tokenizer


def glm_tokenizer() -> Qwen2Tokenizer:
    """Make a tokenizer over bytes that begins texts with two special tokens and pads them on the left."""
    tokenizer = qwen_tokenizer()
    tokenizer.padding_side = "left"
    special = [(each, tokenizer.convert_tokens_to_ids(each)) for each in SPECIAL[1:]]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=" ".join(each for each, _ in special) + " $A", special_tokens=special
    )
    return tokenizer
