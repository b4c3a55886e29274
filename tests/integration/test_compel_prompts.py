"""compel's `.and()` and `.blend()` in attention maps, attention weights, edits and the prompt report."""

import pytest
import torch

from promptweight.attention import PromptToPrompt, attach
from promptweight.cli import prompt_report
from promptweight.cli.token_report import chunk_texts
from promptweight.conditioning import tokenize
from promptweight.errors import SettingError
from promptweight.prompt import parse


def run(pipe, session):
    generator = torch.Generator().manual_seed(0)
    return pipe(
        **session.inputs,
        num_inference_steps=2,
        generator=generator,
        output_type="latent",
        height=16,
        width=16,
    ).images


def test_joined_parts_have_maps_of_all_words(sd):
    with attach(sd, '("um gato", "cor mel").and(1, 0.5)', dialect="compel") as session:
        run(sd, session)
    maps = session.maps
    assert [word.text for word in session.words()] == ["um", "gato", "cor", "mel"]
    assert not torch.equal(maps.word("gato").tensor, maps.word("mel").tensor)
    with attach(sd, '("um gato", "cor mel").blend(1, 1)', dialect="compel") as session:
        run(sd, session)
    assert torch.equal(session.maps.word("um gato").tensor, session.maps.word("cor").tensor)
    assert any(warning.code == "blend-shared-maps" for warning in session.warnings)
    shares = sum(session.maps.share().word(word).mass for word in ("um gato", "mel"))
    assert shares <= 1 + 1e-5


def test_blend_with_attention_weights_or_an_edit_raises(sd):
    weighted = '("um gato++", "cor mel").blend(1, 1)'
    with pytest.raises(SettingError, match=r"attention weights inside .blend\(\)"):
        attach(sd, weighted, dialect="compel", weighting="attention")
    attach(sd, weighted, dialect="compel")
    attach(sd, weighted.replace("blend", "and"), dialect="compel", weighting="attention")
    with pytest.raises(SettingError, match="an edit pairs words by their rows"):
        attach(sd, [weighted, "um gato"], dialect="compel", edit=PromptToPrompt("refine"))


def test_attention_weights_act_on_words_of_joined_parts(sd):
    with attach(sd, '("um gato", "cor mel").and()', dialect="compel", weighting="attention") as session:
        plain = run(sd, session)
        session.set_weight("mel", 3.0)
        heavy = run(sd, session)
    with attach(sd, '("um gato", "cor (mel)3.0").and()', dialect="compel", weighting="attention") as session:
        assert torch.equal(run(sd, session), heavy)
    assert not torch.equal(plain, heavy)


@pytest.mark.parametrize(
    ("call", "texts", "joint"),
    [
        (".and(1, 0.5)", ["um gato", "cor mel"], "— .and(1, 0.5) —"),
        (".blend(1, 2)", ["um gato + cor mel"], "— .blend(1, 2) —"),
        (".blend(1, 2, no_normalize)", ["um gato + cor mel"], "— .blend(1, 2, no_normalize) —"),
    ],
)
def test_prompt_report_lists_the_joined_parts(clip_tokenizer, call, texts, joint):
    prompt = parse(f'("um gato", "cor mel"){call}', "compel").at()
    assert chunk_texts(tokenize(clip_tokenizer, prompt)) == texts
    cells = list(prompt_report.make_table(prompt).columns[0].cells)
    assert [str(cell) for cell in cells] == ["um gato", joint, "cor mel"]
