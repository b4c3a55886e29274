"""Images of captions: languages, seeds, and equality with the pipeline's own images."""

import numpy as np
import torch

from promptweight.evaluation.caption_images import (
    generate_images,
    generate_scene_images,
    write_captions,
)
from promptweight.evaluation.prompt_fidelity import SENTENCE


def test_captions_alternate_between_the_languages():
    portuguese, english = "um gato vermelho persegue um rato cinza", "a red cat chases a grey mouse"
    assert write_captions([SENTENCE] * 3) == [portuguese, english, portuguese]
    assert write_captions([SENTENCE] * 2, ("en",)) == [english, english]


def test_generate_images_equals_the_pipelines_own_images(tiny_pipe):
    prompts, seeds = ["um gato", "um rato vermelho", "um"], [3, 1, 2]
    images = list(generate_images(tiny_pipe, prompts, seeds, steps=2, guidance_scale=5, batch_size=2))
    for prompt, seed, image in zip(prompts, seeds, images, strict=True):
        generator = torch.Generator().manual_seed(seed)
        settings = {"num_inference_steps": 2, "guidance_scale": 5, "output_type": "np"}
        own = tiny_pipe(prompt, generator=generator, **settings).images[0]
        assert np.abs(image.astype(int) - (own * 255).round()).max() <= 1  # a batch is rounded differently


def test_negative_prompts_belong_to_their_images(tiny_pipe):
    def generate(negatives):
        images = generate_images(
            tiny_pipe, ["um"] * 3, [1] * 3, negative_prompts=negatives, steps=1, batch_size=2
        )
        return list(images)

    first, second, third = generate(["gato", "rato", "gato"])
    assert np.abs(first.astype(int) - third).max() <= 1
    assert not np.array_equal(first, second)


def test_scene_images_have_ascending_seeds(tiny_pipe):
    scenes = [SENTENCE] * 2
    images = list(generate_scene_images(tiny_pipe, scenes, 7, guidance_scale=2.0))
    expected = list(generate_images(tiny_pipe, write_captions(scenes), [7, 8], guidance_scale=2.0))
    assert all(map(np.array_equal, images, expected))
