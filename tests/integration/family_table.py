"""Table of what is proved for each model family, measured on tiny random models of the real classes.

    python -m tests.integration.family_table

prints the table in Markdown. Its columns:

    image        the image recorded in a session has the bits of the pipeline's own
    columns      largest difference of a recorded probability from a softmax in float64
    weight       difference of the image with weight 2 from a run by hand in float64, as a share of the effect
    weight 0     images of two words of weight 0 are equal bit for bit
    probe        a probe of the model finds the layers that the lists have
    outside      what of a hidden word the model's prediction still has, outside of attention
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import torch

from promptweight.attention import Record, attach, read_layout
from promptweight.conditioning import family_lookup, find_family
from tests.fixtures.attention_probe import find_keys, weighted_by_hand
from tests.integration.test_language_models import CASES, STEPS, Case, find_tokenizer, run_case

PROMPT, WORD = "um gato vermelho", "gato"


@dataclass(frozen=True)
class Proof:
    """One row of the table."""

    pipeline: str
    encoder: str
    has_own_bits: bool
    column_error: float
    weight_error: float
    removes_words: bool
    probe_finds_layers: bool
    acts_outside: bool

    def __str__(self) -> str:
        """Return the row in Markdown."""
        marks = [
            "equal" if self.has_own_bits else "**differs**",
            f"{self.column_error:.0e}",
            f"{self.weight_error:.1%}",
            "equal" if self.removes_words else "**differ**",
            "same layers" if self.probe_finds_layers else "**other layers**",
            "a part" if self.acts_outside else "nothing",
        ]
        return f"| `{self.pipeline}` | {self.encoder} | {' | '.join(marks)} |"


def prove(case: Case) -> Proof:
    """Measure the row of one family."""
    pipe = case.make()
    pipe.set_progress_bar_config(disable=True)
    tokenizer = find_tokenizer(pipe)
    token = tokenizer(f" {WORD}", add_special_tokens=False).input_ids[-1]
    negative = case.texts.get("negative_prompt", "")

    def run(**inputs):
        return run_case(case, pipe, **inputs)

    def run_weighted(prompt, record=False):
        with attach(pipe, prompt, negative, record=record, **case.encoding) as session:
            return run(**session.inputs), session

    plain = run(**case.texts)
    recorded, session = run_weighted(PROMPT, Record(steps="keep", heads="keep"))
    keys = find_keys(pipe, lambda: run(**case.texts), token)
    with weighted_by_hand(pipe, keys, 1) as softmaxes:
        run(**case.texts)
    with weighted_by_hand(pipe, keys, 2):
        expected = run(**case.texts)
    weighted, _ = run_weighted(f"um ({WORD}:2) vermelho")
    removed = [run_weighted(f"um ({word}:0) and")[0] for word in pick_words(tokenizer)]
    family, listed = find_family(pipe), read_layout(pipe)
    with mock.patch.object(family_lookup, "FAMILIES", ()):
        probed = read_layout(pipe)
    return Proof(
        type(pipe).__name__,
        ", ".join(kind.name for kind in family.encoders),
        torch.equal(recorded, plain),
        measure_columns(session, softmaxes, keys),
        float((weighted - expected).abs().max() / (expected - plain).abs().max()),
        all(torch.equal(removed[0], other) for other in removed[1:]),
        list(listed.layers | listed.text_layers) == list(probed.layers | probed.text_layers),
        any(warning.code == "text-outside-attention" for warning in probed.warnings),
    )


def pick_words(tokenizer) -> list[str]:
    """Return words of as many tokens."""
    words: dict[int, list[str]] = {}
    for word in ("gato", "vermelho", "background", "casa", "lata", "mapa"):
        tokens = len(tokenizer(f"um {word} and", add_special_tokens=False).input_ids)
        words.setdefault(tokens, []).append(word)
    return max(words.values(), key=len)


def measure_columns(session, softmaxes, keys) -> float:
    """Return the largest difference of a recorded column from the nearest one in float64."""
    recording = session.maps.recording
    (word,) = session.find(WORD)
    columns = recording.columns(("positive", 0))
    own = [columns[position] for position in word.positions]
    truth = [
        softmax[row][..., positions].sum(-1)
        for softmax, of_call in zip(softmaxes, keys, strict=True)
        for row, positions in of_call.items()
    ]
    worst = 0.0
    for slot in recording.slots:
        for step in range(STEPS):
            actual = slot.sums[step, 0, 0][..., own].sum(-1).double()
            worst = max(worst, min(nearest(expected, actual) for expected in truth))
    return worst


def nearest(expected, actual) -> float:
    """Return the smallest difference of a range of consecutive queries from the recorded ones."""
    width = actual.shape[-1]
    starts = range(expected.shape[-1] - width + 1)
    if expected.shape[0] != actual.shape[0] or not len(starts):
        return 1.0
    return min(float((expected[:, k : k + width] - actual).abs().max()) for k in starts)


def main() -> None:
    """Print the table."""
    print("| pipeline | text | image | columns | weight | weight 0 | probe | outside |")
    print("|---|---|---|---|---|---|---|---|")
    for case in CASES.values():
        print(prove(case), flush=True)


if __name__ == "__main__":
    main()
