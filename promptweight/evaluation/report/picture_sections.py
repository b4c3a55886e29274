"""What was measured about pictures, told as sections of a report: drawing, response to weights, targets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from promptweight.evaluation import prompt_fidelity as drawn
from promptweight.evaluation import region_response, response_curves, share_targets
from promptweight.evaluation import weight_response as answer
from promptweight.evaluation.checkpoint import Kept
from promptweight.evaluation.report.acceptance import drawing_figures
from promptweight.evaluation.report.document import Curve, Figure, Plot, Section, Table
from promptweight.evaluation.report.subject import Subject
from promptweight.evaluation.statistics import Clustered, Mean

SPEARMAN_BAR = 0.95
MEASURES = ("present", "right_colour", "other_present", "area", "spill", "outside")
SAID = {
    "present": "the weighted thing is there in its colour",
    "right_colour": "where its kind is there, it has its colour",
    "other_present": "the other thing is there",
    "area": "part of the picture in the weighted thing's colours",
    "spill": "part of the other thing's square in them",
    "outside": "change of pixels outside the weighted thing",
}


def drawing(subject: Subject) -> Section:
    """Whether the model draws what is said."""
    figures = drawing_figures(subject.pipeline, number=subject.number, seed=subject.seed)
    return Section(
        "drawing",
        "Does the model draw what is said?",
        "Held-out prompts, half in Portuguese and half in English; a recogniser that draws every explanation "
        "and keeps the best reads the pictures. The figures stand at the top.",
        figures=tuple(figures),
    )


def response(subject: Subject) -> Section:
    """What a weight does."""
    scenes = list(drawn.held_out(subject.part(10), 2, False, subject.seed + 70))
    ways = answer.chosen_ways(subject.ways)
    if not subject.draws_world:
        return told_change(answer.measure_change(subject.pipeline, scenes, seed=subject.seed, chosen=ways))
    plain = answer.drawn_plainly(subject.pipeline, scenes, subject.seed)
    kept = None
    if subject.folder is not None:
        settings = {
            "model": subject.name,
            "scenes": len(scenes),
            "seed": subject.seed,
            "plain pictures": plain.digest,
        }
        kept = Kept(subject.folder / "pictures.jsonl", settings)
    found = answer.measure(subject.pipeline, scenes, plain, chosen=ways, kept=kept)
    asks_regions = not subject.ways or "attention" in subject.ways
    bounded = region_response.measure(subject.pipeline, scenes, plain, kept=kept) if asks_regions else []
    return told_response(found, bounded)


def told_response(found: Sequence[answer.Drawn], bounded: Sequence[region_response.Bounded]) -> Section:
    """The section about `response.measure` and `confined.measure`."""
    names = list(dict.fromkeys(each.way for each in found))
    by_way = {name: [each for each in found if each.way == name] for name in names}
    rising = {name: response_curves.monotone_mean(own) for name, own in by_way.items()}
    lines = []
    for name, own in by_way.items():
        low, high = response_curves.usable(own)
        at_two = [each for each in own if each.weight == 2.0]
        lines.append(
            (
                name,
                rising[name],
                response_curves.monotone_mean(response_curves.part_of(own, 0, 1)),
                response_curves.monotone_mean(response_curves.part_of(own, 1, np.inf)),
                mean(response_curves.monotone(own)),
                mean(response_curves.smooth(own)),
                f"{low:g} – {high:g}",
                mean((each.scene, each.spill) for each in at_two),
                mean((each.scene, each.outside) for each in at_two),
            )
        )
    columns = (
        "way",
        "Spearman, mean area",
        "the same, up to 1",
        "the same, from 1",
        "Spearman, picture by picture",
        "smoothness",
        "usable",
        "spill at 2",
        "outside at 2",
    )
    summary = Table("What a weight does, by the way in which it acts", columns, tuple(lines))
    modes = list(dict.fromkeys(each.mode for each in bounded))
    regions = Table(
        f"Weight {region_response.REGION_WEIGHT:g} in the half where the thing would not stand",
        ("mode", "part of the thing in that half", "at weight 1"),
        tuple(
            (
                mode,
                mean((each.scene, each.inside) for each in bounded if each.mode == mode),
                mean((each.scene, each.inside_without) for each in bounded if each.mode == mode),
            )
            for mode in modes
        ),
    )
    return Section(
        "response",
        "What does a weight do to the picture?",
        "The first thing of a pair carries the weight, as a phrase; the same seeds are drawn at every "
        "weight. Spearman is of weight, from 0 up, and the part of the picture that has the thing's colours: "
        "of its mean over the scenes (of all weights, of those up to 1, and of those from 1), and picture by "
        "picture. Scenes whose two things do not stand in the picture at weight 1 are left out. In attention "
        "the mode `value` gives the output of `p2p`, so it is not drawn again. Smoothness is 1 less the "
        "largest jump between neighbouring weights. Usable are those "
        f"round 1 at which both things are there at least {response_curves.KEPT:.0%} as often as at 1. "
        "Intervals (95 %) come from drawing whole scenes again.",
        (
            summary,
            *(at_weights(by_way, measure) for measure in MEASURES),
            told_growth(by_way),
            *([regions] if bounded else []),
        ),
        tuple(
            plot_of(by_way, measure, is_attention)
            for measure in ("area", "present", "spill", "outside")
            for is_attention in sorted({is_in_attention(name) for name in names})
        ),
        held(rising),
    )


def held(rising: dict[str, Clustered]) -> tuple[Figure, ...]:
    """The best way of each space against the bar."""
    figures = []
    for space in ("embedding", "attention"):
        own = {
            name: value
            for name, value in rising.items()
            if is_in_attention(name) == (space == "attention") and not np.isnan(value.value)
        }
        if own:
            best = max(own, key=lambda name: own[name].value)
            value = own[best]
            title = f"weight against mean area, best in {space} space ({best}): Spearman"
            figures.append(Figure(title, value.value, value.low, value.high, value.of, SPEARMAN_BAR))
    return tuple(figures)


def is_in_attention(way: str) -> bool:
    """Whether a way acts in attention, by its name."""
    return way.startswith("attention ")


def at_weights(by_way: dict[str, list[answer.Drawn]], measure: str) -> Table:
    """One measure at every weight, in every way."""
    weights = sorted({each.weight for own in by_way.values() for each in own})
    lines = tuple((name, *points(own, measure, weights)) for name, own in by_way.items())
    title = SAID[measure]
    return Table(title[0].upper() + title[1:], ("way", *(f"w = {weight:g}" for weight in weights)), lines)


def told_growth(by_way: dict[str, list[answer.Drawn]]) -> Table:
    """How large the thing is where it is there, in every way."""
    weights = sorted({each.weight for own in by_way.values() for each in own})
    lines = []
    for name, own in by_way.items():
        grown = response_curves.grown(own)
        at = [[(scene, size) for scene, at, size in grown if at == weight] for weight in weights]
        lines.append((name, *(mean(each) for each in at)))
    title = "Where the weighted thing is there: its area, of that at weight 1"
    return Table(title, ("way", *(f"w = {weight:g}" for weight in weights)), tuple(lines))


def points(own: Sequence[answer.Drawn], measure: str, weights: Sequence[float]) -> tuple[Clustered, ...]:
    """The mean of a measure at each weight."""
    return tuple(
        mean((each.scene, getattr(each, measure)) for each in own if each.weight == weight)
        for weight in weights
    )


def plot_of(by_way: dict[str, list[answer.Drawn]], measure: str, is_attention: bool) -> Plot:
    """One measure against the weight, a curve for every way of one space."""
    own = {name: each for name, each in by_way.items() if is_in_attention(name) == is_attention}
    weights = sorted({each.weight for drawings in own.values() for each in drawings})
    space = "attention" if is_attention else "embedding"
    return Plot(
        f"response-{measure}-{space}",
        f"Weights in {'attention' if is_attention else 'the text embeddings'}",
        "weight",
        SAID[measure],
        tuple(
            Curve(name, tuple(weights), points(drawings, measure, weights)) for name, drawings in own.items()
        ),
    )


def told_change(found: Sequence[answer.Changed]) -> Section:
    """The section about `response.measure_change`."""
    names = list(dict.fromkeys(each.way for each in found))
    weights = sorted({each.weight for each in found})
    curves = tuple(
        Curve(
            name,
            tuple(weights),
            tuple(
                mean((each.scene, each.change) for each in found if (each.way, each.weight) == (name, weight))
                for weight in weights
            ),
        )
        for name in names
    )
    lines = tuple((curve.name, *curve.y) for curve in curves)
    return Section(
        "response",
        "How much does a weight change the picture?",
        "The first thing of a pair carries the weight, as a phrase; pixels are compared with the picture of "
        "the same seed at weight 1. What the pictures show is not known for this model.",
        (Table("Mean change of pixels", ("way", *(f"w = {weight:g}" for weight in weights)), lines),),
        (
            Plot(
                "response-change", "Change of the picture", "weight", "mean change of pixels (0 to 1)", curves
            ),
        ),
    )


def targets(subject: Subject) -> Section:
    """Whether phrases get their shares, and what a balance does."""
    pairs = list(drawn.held_out(subject.part(20), 2, False, subject.seed + 80))
    reached = share_targets.measure_targets(subject.pipeline, pairs, seed=subject.seed)
    present: list[share_targets.Present] = []
    if subject.draws_world:
        number = subject.part(2)
        scenes = [
            *drawn.held_out(number, 2, False, subject.seed + 90),
            *drawn.held_out(number, 3, False, subject.seed + 90),
        ]
        present = share_targets.measure_balance(subject.pipeline, scenes, seed=subject.seed)
    return told_targets(reached, present)


def told_targets(
    reached: Sequence[share_targets.Reached], present: Sequence[share_targets.Present]
) -> Section:
    """The section about `sharing.measure_targets` and `measure_balance`."""
    asked = sorted({each.target for each in reached})
    lines = tuple(
        (
            f"{target:.0%}",
            mean((each.scene, each.share) for each in reached if each.target == target),
            mean((each.scene, abs(each.share - target)) for each in reached if each.target == target),
            mean((each.scene, each.fixed_share) for each in reached if each.target == target),
            mean((each.scene, each.weight) for each in reached if each.target == target),
        )
        for target in asked
    )
    columns = ("asked", "got", "off by", "got with one weight for all steps", "weight")
    tables = [Table("Shares of the words' attention", columns, lines)]
    if present:
        tables.append(told_balance(present))
    return Section(
        "targets",
        "Do phrases get the share that is asked for, and are things forgotten less with a balance?",
        "A weight is found at every step of a run from what was recorded at the step before; then the "
        "geometric mean of those weights is tried as one weight for the whole run. With a balance the "
        "phrases of a prompt get equal shares; the noises are the same with and without.",
        tuple(tables),
    )


def told_balance(present: Sequence[share_targets.Present]) -> Table:
    """How many things are there with and without a balance, and the difference, picture by picture."""
    ways = list(dict.fromkeys(each.way for each in present))
    lines = []
    for things in sorted({each.things for each in present}):
        own = [each for each in present if each.things == things]
        parts = {way: {e.scene: e.present / things for e in own if e.way == way} for way in ways}
        before, after = (parts[way] for way in ways)
        lines.append(
            (
                str(things),
                *(mean(parts[way].items()) for way in ways),
                Mean.of_all(after[scene] - before[scene] for scene in before),
            )
        )
    return Table(
        "Things that are in the picture, of those in the prompt",
        ("things", *ways, "difference"),
        tuple(lines),
    )


def mean(samples: Iterable[tuple[object, float]]) -> Clustered:
    """A mean with its bootstrap interval over clusters."""
    return Clustered.of_all(samples)
