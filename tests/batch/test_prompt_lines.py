"""Job files with a prompt on each line, in the forms of promptweight, sd-scripts and AUTOMATIC1111."""

import pytest

from promptweight.weighting import Weighting


def test_txt_line_has_the_options_of_sd_scripts(rows):
    values, problems = rows(
        'um gato, (vermelho:1.2) --s 20 --d 1,5-7 --n "feio, --mau" --w 512 --h 768 --l 7.5\n'
    )
    assert problems == []
    assert values == [
        {
            "prompt": "um gato, (vermelho:1.2)",
            "num_inference_steps": 20,
            "seeds": (1, 5, 6, 7),
            "negative_prompt": "feio, --mau",
            "width": 512,
            "height": 768,
            "guidance_scale": 7.5,
        }
    ]


def test_option_values_need_no_quotes_and_allow_an_equals_sign(rows):
    values, problems = rows(
        "um gato --n low quality, bad hands --steps=8 --clip-skip 1 --weighting comfy pooled=weighted\n"
    )
    assert problems == []
    assert values[0] == {
        "prompt": "um gato",
        "negative_prompt": "low quality, bad hands",
        "num_inference_steps": 8,
        "clip_skip": 1,
        "weighting": Weighting("comfy", pooled="weighted"),
    }


def test_dashes_without_a_name_are_text(rows):
    values, problems = rows("a -- b --- c, e--f \\--steps 3\n")
    assert problems == []
    assert values == [{"prompt": "a -- b --- c, e--f --steps 3"}]


def test_comments_and_blank_lines_are_ignored(rows):
    assert rows("# um\n\n   \num gato\n  # dois\n")[0] == [{"prompt": "um gato"}]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("um rato --stpes 3", "1:9: unknown option '--stpes'; did you mean --steps?"),
        ("um rato --s", "1:9: --s needs a value"),
        ("um rato --s dez", "1:13: --s must be an integer; got 'dez'"),
        ("um rato --s 0", "1:13: --s must be between 1 and 1000; got 0"),
        ("um rato --w 33", "1:13: --w must be a multiple of 8; got 33"),
        ("um rato --l nan", "1:13: --l must be between 0 and 100; got nan"),
        ("um rato --s 3 --steps 4", "1:23: --steps must be given once"),
        ('um rato --n "feio', "1:13: the quote of --n is not closed"),
        ('um rato --n "feio" mau --s 3', "1:20: no text may follow the closing quote of --n"),
        ("   --s 3", "1:4: the prompt must not be empty"),
        ("um rato --weighting a111", "1:21: weighting must be one of: none, scale, a1111"),
        ("um rato --scheduler 'DPM++ 2M Karas'", "did you mean DPM++ 2M Karras?"),
        ("um rato --d 9-1", "1:13: a range of --d must ascend"),
        ("um rato --d -2", "1:13: --d must be numbers and ranges, such as 1,2,5-8, or -1 for a random one"),
        ("um rato --d -1-5", "1:13: --d must be numbers and ranges"),
        ("um rato --s 2.5", "1:13: --s must be an integer; got '2.5'"),
        ('um rato --prompt "um gato"', "1:18: --prompt must be given once"),
        ("--negative_prompt feio --steps 3", "1:1: the prompt must not be empty"),
        ("--prompt --steps 3", "1:1: --prompt needs a value"),
        ("um rato --ss dpm_fast", "1:14: --ss must be one of: DDIM"),
        ("um rato --ar 16:9", "1:9: unknown option '--ar'"),
    ],
)
def test_error_of_a_txt_line_has_its_position(rows, line, expected):
    _, problems = rows(line + "\n")
    assert len(problems) == 1
    assert expected in problems[0]
    assert problems[0].startswith("jobs.txt:1:")


def test_line_of_automatic1111_has_the_prompt_in_an_option(rows):
    values, problems = rows(
        '--prompt "a red fox, \\"quick\\"" --negative_prompt "bad, ugly" --steps 20 --width 64 --height 128 '
        '--cfg_scale 7 --sampler_name "Euler a" --seed -1 --n_iter 2 --batch_size 3\n'
        "--prompt photo of a fox --styles 'cinema, noir'\n"
    )
    assert problems == []
    assert values == [
        {
            "prompt": 'a red fox, "quick"',
            "negative_prompt": "bad, ugly",
            "num_inference_steps": 20,
            "width": 64,
            "height": 128,
            "guidance_scale": 7,
            "scheduler": "Euler a",
            "seeds": (-1,),
            "count": 6,
        },
        {"prompt": "photo of a fox", "styles": ("cinema, noir",)},
    ]


A1111_TAGS = (
    "sd_model", "outpath_samples", "outpath_grids", "prompt_for_display", "prompt", "negative_prompt",
    "styles", "seed", "subseed_strength", "subseed", "seed_resize_from_h", "seed_resize_from_w",
    "sampler_index", "sampler_name", "batch_size", "n_iter", "steps", "cfg_scale", "width", "height",
    "restore_faces", "tiling", "do_not_save_samples", "do_not_save_grid",
)  # fmt: skip
"""Options of AUTOMATIC1111's scripts/prompts_from_file.py."""


def test_every_option_of_automatic1111_is_followed_or_named_in_a_warning(rows):
    values = {"prompt": "a", "sampler_name": "Euler", "do_not_save_samples": "true", "restore_faces": "true",
              "tiling": "true", "sd_model": "v1-5.safetensors", "outpath_samples": "out"}  # fmt: skip
    followed = set()
    for tag in A1111_TAGS:
        prompt = "" if tag == "prompt" else '--prompt "a" '
        (parsed,), problems = rows(f'{prompt}--{tag} "{values.get(tag, 8)}"\n')
        assert not any("error" in each or "unknown" in each for each in problems), tag
        if problems:
            assert problems[0].startswith(f"jobs.txt:1:{len(prompt) + len(tag) + 4}: warning: --{tag} is not")
            assert "AUTOMATIC1111" in problems[0]
        elif len(parsed) > 1 or tag == "prompt":
            followed.add(tag)
    assert followed == {
        "prompt", "negative_prompt", "styles", "seed", "sampler_name", "batch_size", "n_iter", "steps",
        "cfg_scale", "width", "height",
    }  # fmt: skip


def test_option_of_another_tool_without_effect_has_no_warning(rows):
    line = '--prompt "a" --restore_faces false --tiling false --subseed_strength 0 --do_not_save_grid true'
    assert rows(line) == ([{"prompt": "a"}], [])


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        ("ddim", "DDIM"), ("pndm", "PLMS"), ("lms", "LMS"), ("euler", "Euler"), ("euler_a", "Euler a"),
        ("heun", "Heun"), ("dpm_2", "DPM2"), ("dpm_2_a", "DPM2 a"), ("dpmsolver++", "DPM++ 2M"),
        ("dpmsingle", "DPM++ 2S"), ("k_lms", "LMS"), ("k_euler", "Euler"), ("k_euler_a", "Euler a"),
        ("k_dpm_2", "DPM2"), ("k_dpm_2_a", "DPM2 a"), ("dpm++ 2m karras", "DPM++ 2M Karras"),
    ],
)  # fmt: skip
def test_samplers_of_sd_scripts_are_known(rows, sampler, expected):
    assert rows(f"um gato --ss {sampler}")[0] == [{"prompt": "um gato", "scheduler": expected}]


def test_letters_of_sd_scripts_without_a_counterpart_are_named_in_warnings(rows):
    without = (
        "ow oh nw nh ct cl nl t c am i cn ctr rcfg fs f dsd1 dst1 dsd2 dst2 dsr glt glr gle gls glsn glus"
    )
    for letters in without.split():
        parsed, problems = rows(f"um gato --{letters} 0.5 --s 3")
        assert parsed == [{"prompt": "um gato", "num_inference_steps": 3}]
        (problem,) = problems
        assert f"warning: --{letters} is not followed; in sd-scripts it is " in problem


def test_equal_warnings_of_many_lines_are_reported_once(rows):
    _, problems = rows("um gato --fs 3\num rato --fs 3\num peixe --fs 2\n")
    assert problems == [
        "jobs.txt:1:14: warning: --fs is not followed; in sd-scripts it is the flow shift "
        "(also in 2 other places)"
    ]


@pytest.mark.parametrize(
    ("options", "guidance", "warnings"),
    [("--l 7.5", 7.5, 0), ("--g 3.5", 3.5, 0), ("--l 1 --g 3.5", 3.5, 0), ("--g 3.5 --l 4", 3.5, 1)],
)
def test_scale_of_a_distilled_model_is_the_guidance_scale(rows, options, guidance, warnings):
    (values,), problems = rows(f"um gato {options}")
    assert values == {"prompt": "um gato", "guidance_scale": guidance}
    assert len(problems) == warnings


def test_single_quotes_around_a_whole_value_are_quotes(rows):
    assert rows("um gato --n 'feio, mau' --s 3")[0][0]["negative_prompt"] == "feio, mau"
    assert rows("um gato --n '90s photo --s 3")[0][0]["negative_prompt"] == "'90s photo"
    assert rows("um gato --n 'til' dawn --s 3")[0][0]["negative_prompt"] == "'til' dawn"


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1.0", (1,)), ("-1", (-1,)), ("-1,-1,3", (-1, -1, 3)), ("1.0, 5-7,1", (1, 5, 6, 7))],
)
def test_seeds_are_whole_numbers_or_random(rows, text, seeds):
    assert rows(f"um gato --d {text}")[0] == [{"prompt": "um gato", "seeds": seeds}]
