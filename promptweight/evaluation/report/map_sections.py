"""What was measured about maps, told as sections of a report: localisation and faithfulness."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from promptweight.errors import SettingError
from promptweight.evaluation import faithfulness as faith
from promptweight.evaluation import localization
from promptweight.evaluation import missing_concepts as leaking
from promptweight.evaluation.noising import is_called_plainly
from promptweight.evaluation.report.document import Curve, Figure, Plot, Section, Table
from promptweight.evaluation.report.subject import Subject
from promptweight.evaluation.statistics import Clustered
from promptweight.generation import LEAK_THRESHOLD

IOU_BAR, POINTING_BAR = 0.75, 0.98
HELD_RULE = "refined"
"""The rule that is held against the bars."""


def localisation(subject: Subject) -> Section:
    """Which map finds the thing."""
    return told_finding(localization.measure(subject.pipeline, number=subject.part(3), seed=subject.seed))


def told_finding(found: localization.Found) -> Section:
    """The section about `finding.measure`."""
    rows = found.findings
    rules = list(dict.fromkeys(each.rule for each in rows))
    parts = list(dict.fromkeys(each.part for each in rows))
    tables = []
    for part in parts:
        lines = []
        for rule in rules:
            own = [each for each in rows if (each.part, each.rule) == (part, rule)]
            measures = [
                mean((each.scene, each.values[name]) for each in own) for name in localization.MEASURES
            ]
            if own:
                lines.append((rule, *measures))
        tables.append(Table(f"Maps of a {part}, by rule", ("rule", *localization.MEASURES), tuple(lines)))
    by_language = [
        (
            f"{language} {part}",
            *(
                mean(
                    (each.scene, each.values[name])
                    for each in rows
                    if (each.language, each.part, each.rule) == (language, part, HELD_RULE)
                )
                for name in localization.MEASURES
            ),
        )
        for language, part in product(dict.fromkeys(each.language for each in rows), parts)
    ]
    tables.append(
        Table(f"Rule “{HELD_RULE}”, by language", ("words", *localization.MEASURES), tuple(by_language))
    )
    chosen, claimed = localization.best_layers(found.layers)
    tables += [*told_layers(found), told_choice(chosen, claimed), told_bounds(found)]
    return Section(
        "localisation",
        "Do the maps find the thing?",
        "Drawn scenes, whose masks are exact, are noised to six levels and passed through the model once. "
        "“iou” is at the best threshold of each map, “iou at 0.4” at one for all; “precision” is average "
        "precision; “inside”, “leaked” and “elsewhere” say how much of a map's mass lies on the word's own "
        "thing, on the other thing and on neither: the rows of the leakage matrix. Rules ending in “wide” "
        "are of pictures half as wide again as high. For a relation word the thing is both things. “daam”, "
        "“heads summed” and “concepts” are the rules of DAAM, attention-map-diffusers and ConceptAttention "
        "on the same recording. Intervals (95 %) come from drawing whole scenes again. The usual views leave "
        "out layers that the model's makers do not advise, and small grids: where a cell is as large as a "
        "thing, what it attends to is other things, and maps refined there lose what they had, as the table "
        "of the layers shows. A causal text encoder puts what it knows of a phrase on its last word: held "
        "against the bars are phrases, and the table by language shows the words alone.",
        tuple(tables),
        (
            of_levels(found, "iou", "localisation-levels"),
            of_layers(found),
        ),
        held(found),
    )


def held(found: localization.Found) -> tuple[Figure, ...]:
    """The figures that have bars: phrases, by the rule that is held against them."""
    own = [each for each in found.findings if (each.part, each.rule) == ("phrase", HELD_RULE)]
    figures = []
    for name, bar in (("iou", IOU_BAR), ("pointing", POINTING_BAR)):
        value = mean((each.scene, each.values[name]) for each in own)
        title = f"maps of phrases, {HELD_RULE}: {name}"
        figures.append(Figure(title, value.value, value.low, value.high, value.of, bar))
    return tuple(figures)


def told_layers(found: localization.Found) -> list[Table]:
    """Tables of the layers, and of the best heads."""
    names = list(dict.fromkeys(each.layer for each in found.layers))
    lines, heads = [], []
    for name in names:
        own = [each for each in found.layers if each.layer == name]
        whole = [each for each in own if each.head is None]
        lines.append(
            (
                name,
                *both(whole),
                mean((each.scene, each.refined_iou) for each in whole),
                mean((each.scene, each.refined_pointing) for each in whole),
            )
        )
        heads += [
            (f"{name}, head {head}", *both([each for each in own if each.head == head]))
            for head in sorted({each.head for each in own if each.head is not None})
        ]
    best = sorted(heads, key=lambda line: -line[1].value)[:12]
    columns = ("iou", "pointing")
    return [
        Table(
            "Maps of a phrase, by layer",
            ("layer", "iou, share", "pointing, share", "iou, refined", "pointing, refined"),
            tuple(lines),
        ),
        Table("The twelve best heads", ("head", *columns), tuple(best)),
    ]


def both(own: list[localization.LayerFinding]) -> tuple[Clustered, Clustered]:
    """Mean IoU and pointing."""
    return (
        mean((each.scene, each.iou) for each in own),
        mean((each.scene, each.pointing) for each in own),
    )


def told_choice(chosen: tuple[str, ...], claimed: dict[str, list[tuple[int, float]]]) -> Table:
    """The layers that were chosen on half of the scenes, measured on the other half."""
    return Table(
        "The best layers together, on scenes that did not choose them",
        ("layers", "iou"),
        ((", ".join(chosen), mean(claimed["chosen"])), ("all layers", mean(claimed["all"]))),
    )


def told_bounds(found: localization.Found) -> Table:
    """What a grid can hold of the masks."""
    grids = dict.fromkeys(each.grid for each in found.bounds)
    return Table(
        "What a grid can hold: the mask itself, averaged over its cells and enlarged as maps are",
        ("grid", "iou"),
        tuple(
            (grid, mean((each.scene, each.iou) for each in found.bounds if each.grid == grid))
            for grid in grids
        ),
    )


def of_levels(found: localization.Found, measure: str, file: str) -> Plot:
    """A measure against the noise level, a curve for each rule."""
    rows = [each for each in found.findings if each.part == "phrase" and "wide" not in each.rule]
    levels = sorted({each.level for each in rows})
    curves = tuple(
        Curve(
            rule,
            tuple(map(float, levels)),
            tuple(
                mean(
                    (each.scene, each.values[measure])
                    for each in rows
                    if (each.rule, each.level) == (rule, level)
                )
                for level in levels
            ),
        )
        for rule in dict.fromkeys(each.rule for each in rows)
    )
    return Plot(
        file,
        "Maps of a phrase, by noise level",
        "noise level (timestep of Stable Diffusion's schedule)",
        "mean IoU at the best threshold",
        curves,
    )


def of_layers(found: localization.Found) -> Plot:
    """A bar for each layer."""
    curves = tuple(
        Curve(
            name,
            (0.0,),
            (mean((e.scene, e.iou) for e in found.layers if e.layer == name and e.head is None),),
        )
        for name in dict.fromkeys(each.layer for each in found.layers)
    )
    return Plot(
        "localisation-layers", "Share maps of a phrase, by layer", "", "mean IoU", curves, is_bars=True
    )


def faithfulness(subject: Subject) -> Section:
    """Whether words act where their maps are."""
    if not is_called_plainly(subject.pipeline):
        kind = type(subject.pipeline).__name__
        raise SettingError(f"faithfulness is measured for Stable Diffusion 1, 2 and 3, not for {kind}")
    return told_faith(
        faith.measure(
            subject.pipeline, number=subject.part(8), seed=subject.seed + 50, is_drawn=subject.draws_world
        )
    )


def told_faith(found: list[faith.Faith]) -> Section:
    """The section about `faithfulness.measure`."""
    parts = list(dict.fromkeys(each.part for each in found))
    lines = tuple(
        (
            part,
            unit,
            *(
                mean(
                    (each.scene, each.correlation)
                    for each in found
                    if (each.part, each.unit, each.way) == (part, unit, way)
                )
                for way in faith.WAYS
            ),
        )
        for part, unit in product(parts, faith.UNITS)
    )
    return Section(
        "faithfulness",
        "Do words act where their maps are?",
        "The map of a word is held against |ε with the word − ε without it|, latent by latent: Spearman's "
        "rank correlation, 1 where the map orders places as the effect does. “masked”: the word's keys are "
        "masked in attention; “unsaid”: it is taken out of the text, so that the other words change too. "
        "Where masking does much less than taking it out, other tokens, the end of the text and the padding "
        "among them, have taken over what the word says, and no weight on its keys can do much.",
        (
            Table("Rank correlation of map and effect", ("word", "map", *faith.WAYS), lines),
            Table(
                "What masking a word's keys does, as a part of what taking it out of the text does",
                ("word", "part"),
                tuple(
                    (
                        part,
                        mean(
                            (each.scene, each.strength)
                            for each in found
                            if (each.part, each.way, each.unit) == (part, "masked", faith.UNITS[0])
                        ),
                    )
                    for part in parts
                ),
            ),
        ),
    )


def mean(samples: Iterable[tuple[object, float]]) -> Clustered:
    """A mean with its bootstrap interval over clusters."""
    return Clustered.of_all(samples)


def leakage(subject: Subject) -> Section:
    """Whether the early warning is right."""
    scenes = leaking.scenes_of(subject.part(len(leaking.PROMPTS)), subject.seed + 60)
    return told_leaks(*leaking.measure(subject.pipeline, scenes, seed=subject.seed))


def told_leaks(found: Sequence[leaking.Warned], of_phrases: Sequence[leaking.Warned]) -> Section:
    """The section about `leaking.measure`: its pictures and their phrases."""
    lines = []
    for rows, truth, name in (
        (found, "is_wrong", "a picture lacks a thing in its colour"),
        (of_phrases, "is_wrong", "the phrase's thing is not there in its colour"),
        (found, "is_mixed", "a picture has a thing in another colour"),
    ):
        for said, verdict in (
            ("as generate warns", leaking.at_threshold(rows, truth, LEAK_THRESHOLD)),
            ("best F-score of the other half", leaking.judge(rows, truth)),
        ):
            lines.append((name, said, *cells(verdict)))
    columns = ("chosen", "how often", "threshold", "precision", "recall", "area under ROC")
    by_prompt = tuple(
        (prompts, verdict.base, verdict.precision, verdict.recall, verdict.area)
        for prompts in leaking.PROMPTS
        if (own := [each for each in found if each.prompts == prompts])
        for verdict in [leaking.at_threshold(own, "is_wrong", LEAK_THRESHOLD)]
    )
    return Section(
        "leakage",
        "Is the warning of things missing or mixed up right?",
        f"After {leaking.WARNED_AFTER} of {leaking.STEPS} steps it is seen how focused the map of each "
        "phrase's last word is in that step, against the most focused one of the prompt "
        "(`promptweight.generation.early_warning`). Prompts name two things, two of one kind in different colours, "
        "three things, or four, a quarter each; four are more than the model ever learnt from, so that "
        "enough goes wrong. The threshold with which `generate` warns was chosen on pictures of other seeds "
        "and judged on all of these; the one with the best F-score was chosen on every second picture, "
        "judged on the others. The area under the ROC curve is of all. Phrases of one picture are counted "
        "as if they were independent.",
        (
            Table("The warning against the finished picture", ("finished picture", *columns), tuple(lines)),
            Table(
                "A picture lacks a thing, as generate warns, by what the prompt names",
                ("prompts", "how often", "precision", "recall", "area under ROC"),
                by_prompt,
            ),
        ),
    )


def cells(verdict: leaking.Verdict) -> tuple[object, ...]:
    """A verdict as cells of a table."""
    return verdict.base, verdict.threshold, verdict.precision, verdict.recall, verdict.area
