"""Report section of the response to weights: tables by weighting and weight, and plots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from promptweight.evaluation.checkpoint import Checkpoint
from promptweight.evaluation.prompt_fidelity import held_out_scenes
from promptweight.evaluation.region_response import REGION_WEIGHT, RegionSample, measure_region_response
from promptweight.evaluation.report.document import Curve, Metric, Plot, ReportSection, Table
from promptweight.evaluation.report.subject import EvaluatedModel
from promptweight.evaluation.response_curves import (
    MIN_RELATIVE_PRESENCE,
    correlate_by_scene,
    correlate_mean_curve,
    linearity_of_presence,
    relative_areas,
    select_weights,
    smoothness_by_scene,
    usable_weights,
)
from promptweight.evaluation.statistics import ClusterMean
from promptweight.evaluation.weight_response import (
    ChangeSample,
    WeightSample,
    generate_baseline,
    measure_image_change,
    measure_weight_response,
    select_weightings,
)
from promptweight.weighting import DEFAULT_NAME, KEY_WEIGHTINGS, Weighting

SPEARMAN_BAR = 0.95
ABSENT_BAR, LINEARITY_BAR, KEPT_BAR = 0.98, 0.95, 0.98
METRIC_TITLES = {
    "present": "the weighted object is present in its color",
    "right_color": "the object has its color, where its kind is present",
    "other_present": "the other object is present",
    "area": "fraction of the image in the weighted object's colors",
    "spill": "fraction of the other object's square in these colors",
    "outside": "change of pixels outside the weighted object",
}
PLOTTED_METRICS = ("area", "present", "spill", "outside")

SamplesByWeighting = dict[str, list[WeightSample]]


def report_weight_response(model: EvaluatedModel) -> ReportSection:
    """Measure the response to weights and return its section; without masks only the change of pixels."""
    scenes = list(held_out_scenes(model.fraction(10), 2, False, model.seed + 70))
    weightings = select_weightings(model.weightings)
    if not model.draws_builtin_world:
        return build_change_section(
            measure_image_change(model.pipeline, scenes, seed=model.seed, weightings=weightings)
        )
    baseline = generate_baseline(model.pipeline, scenes, model.seed)
    checkpoint = None
    if model.folder is not None:
        settings = {
            "model": model.name,
            "scenes": len(scenes),
            "seed": model.seed,
            "baseline": baseline.digest,
        }
        checkpoint = Checkpoint(model.folder / "images.jsonl", settings)
    samples = measure_weight_response(
        model.pipeline, scenes, baseline, weightings=weightings, checkpoint=checkpoint
    )
    regions = []
    if any(weighting.name in KEY_WEIGHTINGS for weighting in weightings):
        regions = measure_region_response(model.pipeline, scenes, baseline, checkpoint=checkpoint)
    return build_response_section(samples, regions)


def build_response_section(samples: Sequence[WeightSample], regions: Sequence[RegionSample]) -> ReportSection:
    """Return the section of the samples of `measure_weight_response` and `measure_region_response`."""
    names = dict.fromkeys(sample.weighting for sample in samples)
    by_weighting = {name: [s for s in samples if s.weighting == name] for name in names}
    correlations = {name: correlate_mean_curve(own) for name, own in by_weighting.items()}
    places = sorted({_is_in_attention(name) for name in names})
    return ReportSection(
        "weight-response",
        "Response of images to weights",
        "The first object of a pair carries the weight, as a phrase; the seeds are the same at every "
        "weight. Spearman is the rank correlation of weight, from 0 up, and the fraction of the image in "
        "the object's colors: of its mean over the scenes (of all weights, of those up to 1, and of those "
        "from 1), and by scene. Scenes whose image at weight 1 lacks an object are omitted. Smoothness is "
        "1 minus the largest jump between neighboring weights. Usable weights are those around 1 that keep "
        f"both objects at least {MIN_RELATIVE_PRESENCE:.0%} as often as weight 1. Intervals (95 %) are a "
        "bootstrap over scenes.",
        (
            _summary_table(by_weighting, correlations),
            *(_weight_table(by_weighting, metric) for metric in METRIC_TITLES),
            _growth_table(by_weighting),
            *([_region_table(regions)] if regions else []),
        ),
        tuple(
            _plot_metric(by_weighting, metric, is_attention)
            for metric in PLOTTED_METRICS
            for is_attention in places
        ),
        (*_acceptance_metrics(correlations), *_dial_metrics(by_weighting)),
    )


def build_change_section(samples: Sequence[ChangeSample]) -> ReportSection:
    """Return the section of the samples of `measure_image_change`."""
    weights = sorted({sample.weight for sample in samples})
    curves = tuple(
        Curve(
            name,
            tuple(weights),
            tuple(
                ClusterMean.from_samples(
                    (s.scene, s.change) for s in samples if (s.weighting, s.weight) == (name, weight)
                )
                for weight in weights
            ),
        )
        for name in dict.fromkeys(sample.weighting for sample in samples)
    )
    rows = tuple((curve.name, *curve.y) for curve in curves)
    return ReportSection(
        "weight-response",
        "Change of images by weights",
        "The first object of a pair carries the weight, as a phrase; pixels are compared with the image of "
        "the same seed at weight 1. The content of this model's images is not known.",
        (Table("Mean change of pixels", ("weighting", *_weight_columns(weights)), rows),),
        (Plot("response-change", "Change of the image", "weight", "mean change of pixels (0 to 1)", curves),),
    )


def _summary_table(by_weighting: SamplesByWeighting, correlations: dict[str, ClusterMean]) -> Table:
    """Return correlations, smoothness, usable weights and side effects by weighting."""
    columns = (
        "weighting",
        "Spearman, mean area",
        "the same, up to 1",
        "the same, from 1",
        "Spearman, by scene",
        "smoothness",
        "usable",
        "spill at 2",
        "outside at 2",
    )
    rows = []
    for name, own in by_weighting.items():
        low, high = usable_weights(own)
        at_two = [sample for sample in own if sample.weight == 2.0]
        rows.append(
            (
                name,
                correlations[name],
                correlate_mean_curve(select_weights(own, 0, 1)),
                correlate_mean_curve(select_weights(own, 1, np.inf)),
                ClusterMean.from_samples(correlate_by_scene(own)),
                ClusterMean.from_samples(smoothness_by_scene(own)),
                f"{low:g} – {high:g}",
                ClusterMean.from_samples((sample.scene, sample.spill) for sample in at_two),
                ClusterMean.from_samples((sample.scene, sample.outside) for sample in at_two),
            )
        )
    return Table("Effect of a weight, by weighting", columns, tuple(rows))


def _weight_table(by_weighting: SamplesByWeighting, metric: str) -> Table:
    """Return one metric by weighting and weight."""
    weights = _all_weights(by_weighting)
    rows = tuple((name, *_means_by_weight(own, metric, weights)) for name, own in by_weighting.items())
    title = METRIC_TITLES[metric]
    return Table(title[0].upper() + title[1:], ("weighting", *_weight_columns(weights)), rows)


def _growth_table(by_weighting: SamplesByWeighting) -> Table:
    """Return the relative area of the objects that are present, by weighting and weight."""
    weights = _all_weights(by_weighting)
    rows = []
    for name, own in by_weighting.items():
        areas = relative_areas(own)
        by_weight = [[(scene, area) for scene, at, area in areas if at == weight] for weight in weights]
        rows.append((name, *map(ClusterMean.from_samples, by_weight)))
    title = "Area of the weighted object where it is present, relative to weight 1"
    return Table(title, ("weighting", *_weight_columns(weights)), tuple(rows))


def _region_table(samples: Sequence[RegionSample]) -> Table:
    """Return the fraction of the object in the region of its weight, by weighting."""
    rows = []
    for weighting in dict.fromkeys(sample.weighting for sample in samples):
        own = [sample for sample in samples if sample.weighting == weighting]
        rows.append(
            (
                weighting,
                ClusterMean.from_samples((sample.scene, sample.inside) for sample in own),
                ClusterMean.from_samples((sample.scene, sample.inside_baseline) for sample in own),
            )
        )
    return Table(
        f"Weight {REGION_WEIGHT:g} in the half without the object at weight 1",
        ("weighting", "fraction of the object in that half", "at weight 1"),
        tuple(rows),
    )


def _plot_metric(by_weighting: SamplesByWeighting, metric: str, is_attention: bool) -> Plot:
    """Return the plot of one metric against the weight, for weightings in embeddings or in attention."""
    weights = _all_weights(by_weighting)
    return Plot(
        f"response-{metric}-{'attention' if is_attention else 'embedding'}",
        f"Weights in {'attention' if is_attention else 'the text embeddings'}",
        "weight",
        METRIC_TITLES[metric],
        tuple(
            Curve(name, tuple(weights), _means_by_weight(own, metric, weights))
            for name, own in by_weighting.items()
            if _is_in_attention(name) == is_attention
        ),
    )


def _acceptance_metrics(correlations: dict[str, ClusterMean]) -> tuple[Metric, ...]:
    """Return the best weighting in embeddings and in attention, with its bar."""
    metrics = []
    for place in ("the text embeddings", "attention"):
        own = {
            name: value
            for name, value in correlations.items()
            if _is_in_attention(name) == (place == "attention") and not np.isnan(value.value)
        }
        if own:
            best = max(own, key=lambda name: own[name].value)
            value = own[best]
            title = f"weight against mean area, best in {place} ({best}): Spearman"
            metrics.append(Metric(title, value.value, value.low, value.high, value.count, SPEARMAN_BAR))
    return tuple(metrics)


def _dial_metrics(by_weighting: SamplesByWeighting) -> tuple[Metric, ...]:
    """Return the bars of a dial for the default weighting: absent at 0, linear up to 1, and harmless to 2."""
    metrics = []
    for name in (DEFAULT_NAME, "presence"):
        own = by_weighting.get(name, [])
        absent = ClusterMean.from_samples((each.scene, 1 - each.present) for each in own if each.weight == 0)
        linear = linearity_of_presence(own)
        weights = {each.weight for each in own if 0 <= each.weight <= 2}
        kept = [
            ClusterMean.from_samples(
                (each.scene, each.other_present) for each in own if each.weight == weight
            )
            for weight in weights
        ]
        least = min(kept, key=lambda mean: mean.value, default=linear)
        for title, mean, bar in (
            ("absent at weight 0", absent, ABSENT_BAR),
            ("presence against weights from 0 to 1: R²", linear, LINEARITY_BAR),
            ("other object kept, least of the weights from 0 to 2", least, KEPT_BAR),
        ):
            if mean.count:
                metrics.append(Metric(f"{name}: {title}", mean.value, mean.low, mean.high, mean.count, bar))
    return tuple(metrics)


def _is_in_attention(weighting: str) -> bool:
    return Weighting.parse(weighting).acts_in_attention


def _all_weights(by_weighting: SamplesByWeighting) -> list[float]:
    return sorted({sample.weight for own in by_weighting.values() for sample in own})


def _weight_columns(weights: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"w = {weight:g}" for weight in weights)


def _means_by_weight(
    samples: Sequence[WeightSample], metric: str, weights: Sequence[float]
) -> tuple[ClusterMean, ...]:
    """Return the mean of a metric at each weight."""
    return tuple(
        ClusterMean.from_samples((s.scene, getattr(s, metric)) for s in samples if s.weight == weight)
        for weight in weights
    )
