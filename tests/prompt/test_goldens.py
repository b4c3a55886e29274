"""Results of other tools' own code for the same texts (see the README of the goldens)."""

import json
from pathlib import Path

import pytest

from promptweight.prompt import parse, schedule, to_fragments

GOLDENS = Path(__file__).resolve().parents[2] / "../shared/goldens"


def cases(name):
    path = GOLDENS / f"{name}.json"
    if not path.exists():
        skipped = pytest.mark.skip(reason=f"the golden cases {name}.json are not beside this checkout")
        return [pytest.param(None, marks=skipped)]
    return [
        pytest.param(case, id=case["id"]) for case in json.loads(path.read_text(encoding="utf-8"))["cases"]
    ]


def canonical(fragments):
    """Return fragments without empty text, neighbors of equal weight joined, never across BREAK."""
    joined = []
    for text, weight in fragments:
        weight = float(weight)
        marker = (text, weight) == ("BREAK", -1.0)
        if text and joined and not marker and joined[-1][1] == weight and joined[-1][0] != "BREAK":
            joined[-1] = (joined[-1][0] + text, weight)
        elif text:
            joined.append((text, weight))
    return joined


def rounded(fragments):
    return [(text, round(weight, 6)) for text, weight in fragments]


@pytest.mark.parametrize("case", cases("a1111_parse"))
def test_a1111_weights_match_its_code(case):
    prompt = parse(case["prompt"], "a1111").at()
    if case["expected"] is None:
        assert prompt.diagnostics, "the tool crashes here: ours warns"
    else:
        assert rounded(to_fragments(prompt)) == canonical(case["expected"])


@pytest.mark.parametrize("case", cases("a1111_and"))
def test_a1111_parts_match_its_code(case):
    prompt = parse(case["prompt"], "a1111").at()
    assert [[part.text, part.weight] for part in prompt.parts] == case["expected"]


@pytest.mark.parametrize("dialect", ["a1111", "pw"])
@pytest.mark.parametrize("case", cases("a1111_schedule"))
def test_a1111_schedules_match_its_code(case, dialect):
    found = schedule(
        case["prompt"],
        case["base_steps"],
        dialect,
        second_pass_steps=case["hires_steps"],
        use_old_scheduling=case["use_old_scheduling"],
    )
    assert [list(entry) for entry in found] == case["expected"]


@pytest.mark.parametrize("case", cases("comfy_parse"))
def test_comfy_weights_match_its_code(case):
    prompt = parse(case["prompt"], "comfy").at()
    if any(weight in ("inf", "-inf", "nan") for _, weight in case["expected"]):
        assert prompt.diagnostics, "infinite and NaN weights are text here, with a warning"
    else:
        assert rounded((span.text, span.weight) for span in prompt.spans) == [
            (text, weight) for text, weight in case["expected"]
        ]
        assert rounded(to_fragments(prompt)) == canonical(case["expected"])


@pytest.mark.parametrize("case", cases("compel_parse"))
def test_compel_parts_match_its_code(case):
    prompt = parse(case["prompt"], "compel").at()
    if case["expected"] is None:
        assert prompt.text or prompt.loras or not case["prompt"].strip()
        return
    expected = case["expected"]
    assert [[lora.name, lora.weight] for lora in prompt.loras] == expected["loras"]
    found = [(part, fragments_with_swaps(prompt, part)) for part in prompt.parts]
    if not expected["parts"]:
        assert all(not fragments for _, fragments in found)
        return
    blends = [part for part in expected["parts"] if part["type"] == "blend"]
    if blends:
        (blend,) = blends
        assert {part.blend for part, _ in found} == {0}
        assert [part.weight for part, _ in found] == blend["weights"]
        assert {part.normalize for part, _ in found} == {blend["normalize"]}
        assert [fragments for _, fragments in found] == [
            filled(part["fragments"]) for part in blend["prompts"]
        ]
    else:
        assert [part.weight for part, _ in found] == expected["weights"]
        assert [fragments for _, fragments in found] == [
            filled(part["fragments"]) for part in expected["parts"]
        ]


def filled(fragments):
    return [fragment for fragment in fragments if isinstance(fragment, dict) or fragment[0]]


def fragments_with_swaps(prompt, part):
    """Return the part's fragments in the form of the goldens: a swap is one fragment."""
    found = []
    swaps = [swap for swap in prompt.swaps if part.clean_start <= swap.clean_start < part.clean_end]
    for span in prompt.spans:
        if not part.clean_start <= span.clean_start < part.clean_end or span.origin == "gap":
            continue
        fragment = [span.text, round(span.weight, 6)]
        around = [swap for swap in swaps if swap.clean_start <= span.clean_start < swap.clean_end]
        if not around:
            found.append(fragment)
        elif span.clean_start == around[0].clean_start:
            edited = [list(pair) for pair in rounded(around[0].edited)]
            found.append(
                {"swap": {"original": [fragment], "edited": edited, "options": dict(around[0].options)}}
            )
        else:
            found[-1]["swap"]["original"].append(fragment)
    return found
