"""Captured attention against float64 softmaxes and against a session's recording."""

import math

import pytest
import torch

from promptweight.attention import Record, attach
from promptweight.attention.inspection import capture_attention

SIZE = {"height": 32, "width": 48, "num_inference_steps": 3}
PLACE = (0.6, 0.4)
RECORD = Record(steps="keep", heads="keep", patches=(PLACE,))


@pytest.fixture
def listen(monkeypatch):
    """A function that starts to collect the float64 softmax and output of every attention call of torch."""
    calls = []
    attention = torch.nn.functional.scaled_dot_product_attention

    def listening(query, key, value, attn_mask=None, **settings):
        softmax = (query.double() @ key.double().transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1)
        calls.append((softmax, softmax @ value.double()))
        return attention(query, key, value, attn_mask=attn_mask, **settings)

    def start():
        monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", listening)
        return calls

    return start


def settings_of(tiny, family):
    extra = {"unet": {}, "sd3": tiny.pooled(1), "flux": {"pooled_prompt_embeds": torch.ones(1, 32)}}[family]
    make = {"unet": tiny.pipeline, "sd3": tiny.sd3_pipeline, "flux": tiny.flux_pipeline}[family]
    return make(), SIZE | extra


@pytest.mark.parametrize("family", ["unet", "sd3", "flux"])
def test_capture_matches_the_models_own_softmax(tiny, listen, family):
    encoded = tiny.encode("um gato vermelho", negative=None if family == "flux" else "feio")
    pipe, settings = settings_of(tiny, family)
    plain = tiny.run(pipe, encoded.inputs, **settings)
    with attach(pipe, encoded, record=RECORD) as session, capture_attention(session, [2, 0]) as capture:
        assert torch.equal(tiny.run(pipe, session.inputs, **settings), plain)
    assert capture.steps == (0, 2)
    assert not capture.omitted_layers
    calls = listen()
    tiny.run(pipe, encoded.inputs, **settings)
    per_step = len(calls) // 3
    for step in capture.steps:
        now = calls[step * per_step : (step + 1) * per_step]
        if family == "unet":
            own, text = now[0::2], now[1::2]
        else:
            own = text = now
        for number, layer in enumerate(capture.layers):
            captured = capture.text[layer.name, step]
            rows, columns = capture.sizes[layer.name]
            assert captured.query.shape[1] == rows * columns
            softmax, output = text[number]
            # rows of the batch: negative prompts come first
            first = {"unet": 0, "sd3": 0, "flux": tiny.rows}[family]
            for head, position in ((0, 0), (captured.heads - 1, rows * columns - 1), (1, columns + 2)):
                row = captured.row(head, position)
                expected = softmax[-1, head, first + position]
                torch.testing.assert_close(row.probabilities.double(), expected, atol=1e-5, rtol=1e-4)
                torch.testing.assert_close(
                    row.output.double(), output[-1, head, first + position], atol=1e-5, rtol=1e-4
                )
                torch.testing.assert_close(row.products, row.keys @ row.query)
            keys = [captured.text.start + 2, captured.text.start + 3]
            end = first + rows * columns
            torch.testing.assert_close(
                captured.columns(keys).double(),
                softmax[-1, :, first:end, keys].sum(-1),
                atol=1e-5,
                rtol=1e-4,
            )
            image = capture.image[layer.name, step]
            assert image.image.stop - image.image.start == rows * columns
            attended = image.row(1, 3).probabilities.double()
            torch.testing.assert_close(attended, own[number][0][-1, 1, first + 3], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["unet", "sd3", "flux"])
@pytest.mark.parametrize(
    "options",
    ["{weighting=attention}", "{weighting=attention,region=left}", "{weighting=attention-p2p,region=right}"],
)
def test_capture_includes_weights(tiny, family, options):
    prompt = f"um gato:2.5{options} vermelho"
    encoded = tiny.encode(prompt, negative=None if family == "flux" else "feio")
    pipe, settings = settings_of(tiny, family)
    with attach(pipe, encoded, record=RECORD) as session, capture_attention(session, [1]) as capture:
        tiny.run(pipe, session.inputs, **settings)
    slots = {slot.layers: slot for slot in session.maps.recording.slots if slot.kind == "rows"}
    for layer in capture.layers:
        captured = capture.text[layer.name, 1]
        rows, columns = capture.sizes[layer.name]
        position = int(PLACE[1] * rows) * columns + int(PLACE[0] * columns)
        for head in range(captured.heads):
            row = captured.row(head, position)
            recorded = slots[layer.name,].sums[1, 0, 0, head, 0]
            torch.testing.assert_close(row.probabilities[captured.text], recorded, atol=1e-6, rtol=1e-5)
        word = captured.text.start + 2  # "gato" is the second token
        if options == "{weighting=attention}":
            assert row.bias[word] == pytest.approx(math.log(2.5))
            assert row.bias.abs().sum() == pytest.approx(math.log(2.5))
        elif "left" in options:
            left, right = captured.row(0, 0), captured.row(0, columns - 1)
            assert left.bias[word] == pytest.approx(math.log(2.5))
            assert right.bias[word] == 0
        else:
            left, right = captured.row(0, 0), captured.row(0, columns - 1)
            assert left.factors[word] == 1
            assert right.factors[word] == pytest.approx(2.5)
            assert right.factors.sum() == pytest.approx(len(right.factors) + 1.5)


def test_captured_output_is_the_layers_output(tiny, monkeypatch):
    from promptweight.attention.hooks.layer_hook import LayerHook

    outputs = []
    usual = LayerHook.attend

    def noting(self, query, key, value, *, mask=None):
        output = usual(self, query, key, value, mask=mask)
        outputs.append(output)
        return output

    monkeypatch.setattr(LayerHook, "attend", noting)
    pipe, settings = settings_of(tiny, "unet")
    encoded = tiny.encode(
        "um gato:2.5{weighting=attention-p2p,region=right} vermelho:0.5{weighting=attention}"
    )
    with attach(pipe, encoded, record=Record()) as session, capture_attention(session, [0]) as capture:
        tiny.run(pipe, session.inputs, **settings)
    for number, layer in enumerate(capture.layers):
        captured = capture.text[layer.name, 0]
        for position in (0, captured.query.shape[1] - 1):
            output = outputs[number][-1, 1, position]
            torch.testing.assert_close(captured.row(1, position).output, output, atol=1e-5, rtol=1e-4)


def test_capture_stays_within_max_mb(tiny):
    pipe, settings = settings_of(tiny, "sd3")
    encoded = tiny.encode("um gato vermelho")
    with attach(pipe, encoded, record=RECORD) as session, capture_attention(session, [0, 1, 2]) as capture:
        tiny.run(pipe, session.inputs, **settings)
    all_layers, whole = [layer.name for layer in capture.layers], capture.nbytes
    with (
        attach(pipe, encoded, record=RECORD) as session,
        capture_attention(session, [0, 1, 2], max_mb=0.7 * whole / 2**20) as reduced,
    ):
        tiny.run(pipe, session.inputs, **settings)
    assert reduced.nbytes <= 0.7 * whole
    assert [layer.name for layer in reduced.layers] == all_layers[::2]
    assert list(reduced.omitted_layers) == all_layers[1::2]
    assert reduced.steps == (0, 1, 2)


def test_hooks_are_restored_after_an_exception(tiny, pipe):
    encoded = tiny.encode("um gato vermelho")
    with attach(pipe, encoded, record=RECORD) as session:
        with pytest.raises(ZeroDivisionError), capture_attention(session, [0]):
            raise ZeroDivisionError
        assert all("attend" not in vars(hook) for hook in session.installation.hooks.values())


@pytest.mark.parametrize(
    ("prompt", "texts"),
    [
        ("um [gato:rato azul:0.5]", ["um gato", "um gato", "um rato azul", "um rato azul"]),
        ("um [gato|rato]", ["um gato", "um rato", "um gato", "um rato"]),
        ("um gato AND um rato azul:0.5", ["um gato"] * 4),
    ],
)
def test_capture_has_the_variant_of_each_step(tiny_pipe, prompt, texts):
    with (
        attach(tiny_pipe, prompt, record=RECORD, num_inference_steps=4) as session,
        capture_attention(session, range(4)) as capture,
    ):
        tiny_pipe(**session.inputs, num_inference_steps=4, generator=torch.Generator().manual_seed(0))
    assert [capture.variant_at(step)[0].table.prompt.text for step in range(4)] == texts
    layer = capture.layers[0].name
    keys = [capture.text[layer, step].key for step in range(4)]
    for one in range(4):
        for other in range(4):
            assert torch.equal(keys[one], keys[other]) == (texts[one] == texts[other])
