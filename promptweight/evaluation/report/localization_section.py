"""Report section of localization: tables by rule, language, layer, head and grid, and plots."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from promptweight.evaluation.layer_comparison import LayerSample, select_layers
from promptweight.evaluation.report.document import Curve, Metric, Plot, ReportSection, Table
from promptweight.evaluation.report.subject import EvaluatedModel
from promptweight.evaluation.rule_comparison import (
    METRICS,
    LocalizationResult,
    RuleSample,
    measure_localization,
)
from promptweight.evaluation.statistics import ClusterMean

IOU_BAR, POINTING_BAR = 0.75, 0.98
ACCEPTANCE_RULE = "refined"
"""The rule whose values are compared with the bars."""
LANGUAGE_RULES = ("probability", "traced", "refined", "refined traced")
"""The rules with a table by language."""


def report_localization(model: EvaluatedModel) -> ReportSection:
    """Measure localization and return its section."""
    result = measure_localization(model.pipeline, number=model.fraction(3), seed=model.seed)
    return build_localization_section(result)


def build_localization_section(result: LocalizationResult) -> ReportSection:
    """Return the section of the result of `measure_localization`."""
    return ReportSection(
        "localization",
        "Localization of objects by attention maps",
        "Rendered scenes with exact masks are noised to six levels and passed through the model once. "
        "“iou” is at the best threshold of each map, “iou at 0.4” at one threshold for all; “precision” is "
        "average precision; “pointing” is the proportion of maps whose maximum lies on the object; "
        "“inside”, “leaked” and “elsewhere” are the shares of a map's mass on the word's own object, on "
        "the other object and on neither: the rows of the leakage matrix. Rules that end in “wide” use "
        "images half as wide again as high. The object of a relation word is both objects. “daam”, “heads "
        "summed” and “concepts” are the rules of DAAM, attention-map-diffusers and ConceptAttention on the "
        "same recording. Intervals (95 %) are a bootstrap over scenes. The default views omit layers that "
        "the model's authors do not advise, and small grids: where a cell is as large as an object, it "
        "attends to other objects, and maps refined there lose accuracy, as the table by layer shows. A "
        "causal text encoder collects a phrase in its last word: the bars apply to phrases, and the tables "
        "by language show the words alone. “traced” maps add what the rows of other tokens hold of a word, "
        "by the rollout of the text encoder's attention.",
        (
            *_rule_tables(result.rules),
            *(_language_table(result.rules, rule) for rule in LANGUAGE_RULES),
            *_layer_tables(result.layers),
            _selection_table(result.layers),
            _bound_table(result),
        ),
        (_plot_levels(result.rules), _plot_layers(result.layers)),
        _acceptance_metrics(result.rules),
    )


def _metric_cells(samples: Iterable[RuleSample]) -> tuple[ClusterMean, ...]:
    """Return the mean of every metric over the scenes."""
    rows = list(samples)
    return tuple(
        ClusterMean.from_samples((sample.scene, sample.values[name]) for sample in rows) for name in METRICS
    )


def _rule_tables(samples: tuple[RuleSample, ...]) -> list[Table]:
    """Return a table by rule for each kind of word."""
    rules = dict.fromkeys(sample.rule for sample in samples)
    tables = []
    for part in dict.fromkeys(sample.part for sample in samples):
        by_rule = {rule: [s for s in samples if (s.part, s.rule) == (part, rule)] for rule in rules}
        rows = tuple((rule, *_metric_cells(own)) for rule, own in by_rule.items() if own)
        tables.append(Table(f"Maps of a {part}, by rule", ("rule", *METRICS), rows))
    return tables


def _language_table(samples: tuple[RuleSample, ...], rule: str) -> Table:
    """Return the metrics of a rule by language and kind of word."""
    languages = dict.fromkeys(sample.language for sample in samples)
    parts = dict.fromkeys(sample.part for sample in samples)
    rows = tuple(
        (
            f"{language} {part}",
            *_metric_cells(s for s in samples if (s.language, s.part, s.rule) == (language, part, rule)),
        )
        for language, part in product(languages, parts)
    )
    return Table(f"Rule “{rule}”, by language", ("words", *METRICS), rows)


def _acceptance_metrics(samples: tuple[RuleSample, ...]) -> tuple[Metric, ...]:
    """Return the metrics with bars: those of phrases by the acceptance rule."""
    own = [sample for sample in samples if (sample.part, sample.rule) == ("phrase", ACCEPTANCE_RULE)]
    metrics = []
    for name, bar in (("iou", IOU_BAR), ("pointing", POINTING_BAR)):
        mean = ClusterMean.from_samples((sample.scene, sample.values[name]) for sample in own)
        title = f"maps of phrases, {ACCEPTANCE_RULE}: {name}"
        metrics.append(Metric(title, mean.value, mean.low, mean.high, mean.count, bar))
    return tuple(metrics)


def _layer_tables(samples: tuple[LayerSample, ...]) -> list[Table]:
    """Return the tables of the layers and of the best heads."""
    rows, heads = [], []
    for layer in dict.fromkeys(sample.layer for sample in samples):
        own = [sample for sample in samples if sample.layer == layer]
        whole = [sample for sample in own if sample.head is None]
        rows.append(
            (
                layer,
                *_iou_and_pointing(whole),
                ClusterMean.from_samples((sample.scene, sample.refined_iou) for sample in whole),
                ClusterMean.from_samples((sample.scene, sample.refined_pointing) for sample in whole),
            )
        )
        heads += [
            (f"{layer}, head {head}", *_iou_and_pointing(sample for sample in own if sample.head == head))
            for head in sorted({sample.head for sample in own if sample.head is not None})
        ]
    best = sorted(heads, key=lambda row: -row[1].value)[:12]
    return [
        Table(
            "Maps of a phrase, by layer",
            ("layer", "iou, share", "pointing, share", "iou, refined", "pointing, refined"),
            tuple(rows),
        ),
        Table("The twelve best heads", ("head", "iou", "pointing"), tuple(best)),
    ]


def _iou_and_pointing(samples: Iterable[LayerSample]) -> tuple[ClusterMean, ClusterMean]:
    rows = list(samples)
    return (
        ClusterMean.from_samples((sample.scene, sample.iou) for sample in rows),
        ClusterMean.from_samples((sample.scene, sample.pointing) for sample in rows),
    )


def _selection_table(samples: tuple[LayerSample, ...]) -> Table:
    """Return the accuracy of the layers selected on half of the scenes, on the other half."""
    selected, pairs = select_layers(samples)
    return Table(
        "The best layers together, on scenes that did not select them",
        ("layers", "iou"),
        (
            (", ".join(selected), ClusterMean.from_samples(pairs["selected"])),
            ("all layers", ClusterMean.from_samples(pairs["all"])),
        ),
    )


def _bound_table(result: LocalizationResult) -> Table:
    """Return the upper bound of every grid."""
    return Table(
        "Upper bound of a grid: the mask itself, averaged over its cells and upsampled as maps are",
        ("grid", "iou"),
        tuple(
            (
                grid,
                ClusterMean.from_samples(
                    (bound.scene, bound.iou) for bound in result.bounds if bound.grid == grid
                ),
            )
            for grid in dict.fromkeys(bound.grid for bound in result.bounds)
        ),
    )


def _plot_levels(samples: tuple[RuleSample, ...]) -> Plot:
    """Return the plot of IoU against the noise level, with a curve for each rule."""
    phrases = [sample for sample in samples if sample.part == "phrase" and "wide" not in sample.rule]
    levels = sorted({sample.level for sample in phrases})
    curves = tuple(
        Curve(
            rule,
            tuple(map(float, levels)),
            tuple(
                ClusterMean.from_samples(
                    (s.scene, s.values["iou"]) for s in phrases if (s.rule, s.level) == (rule, level)
                )
                for level in levels
            ),
        )
        for rule in dict.fromkeys(sample.rule for sample in phrases)
    )
    return Plot(
        "localization-levels",
        "Maps of a phrase, by noise level",
        "noise level (timestep of Stable Diffusion's schedule)",
        "mean IoU at the best threshold",
        curves,
    )


def _plot_layers(samples: tuple[LayerSample, ...]) -> Plot:
    """Return the plot with a bar for each layer."""
    curves = tuple(
        Curve(
            layer,
            (0.0,),
            (
                ClusterMean.from_samples(
                    (s.scene, s.iou) for s in samples if s.layer == layer and s.head is None
                ),
            ),
        )
        for layer in dict.fromkeys(sample.layer for sample in samples)
    )
    return Plot(
        "localization-layers", "Share maps of a phrase, by layer", "", "mean IoU", curves, is_bars=True
    )
