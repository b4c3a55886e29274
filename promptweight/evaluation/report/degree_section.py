"""Report section of degrees: size and number of objects by the weight of their words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from promptweight.evaluation.degree_response import DIRECTIONS, DegreeSample, measure_degree_response
from promptweight.evaluation.report.document import Curve, Metric, Plot, ReportSection, Table
from promptweight.evaluation.report.subject import EvaluatedModel
from promptweight.evaluation.statistics import ClusterMean, spearman

SEEDS = 5
"""Images of each prompt and weight."""

MEAN_BAR, SINGLE_BAR = 0.95, 0.9


def report_degree_response(model: EvaluatedModel) -> ReportSection:
    """Measure the response of degrees and return its section."""
    assert model.world is not None
    samples = measure_degree_response(
        model.pipeline, model.world, prompts=model.fraction(50), seeds=SEEDS, seed=model.seed
    )
    return build_degree_section(samples)


def build_degree_section(samples: Sequence[DegreeSample]) -> ReportSection:
    """Return the section of the samples of `measure_degree_response`."""
    words = list(dict.fromkeys(sample.word for sample in samples))
    weights = sorted({sample.weight for sample in samples})
    means = {word: _relative_means(samples, word, weights) for word in words}
    by_prompt = {word: _correlate_prompts(samples, word) for word in words}
    by_image = {word: _correlate_images(samples, word) for word in words}
    rows = tuple(
        (
            word,
            ClusterMean.from_samples(enumerate(by_prompt[word])),
            f"{np.median(by_image[word]):.3f}" if by_image[word] else "–",
            *means[word],
        )
        for word in words
    )
    prompts = [value for word in words for value in by_prompt[word]]
    images = [value for word in words for value in by_image[word]]
    mean, median = ClusterMean.from_samples(enumerate(prompts)), float(np.median(images or [np.nan]))
    quartiles = np.quantile(images or [np.nan], [0.25, 0.75])
    return ReportSection(
        "degree-response",
        "Size and number of objects by the weight of their words",
        "The size word of a single object, or the number word of many, carries the weight; the noise is the "
        "same at every weight. The degree is the part of the image that is not background, or the number of "
        "objects, as a multiple of that at weight 1. Spearman is the rank correlation of weight and degree, "
        "with its sign reversed for words of small sizes: of the mean of each prompt over its images, and of "
        "single images (median). A curve that never changes counts as 0.",
        (
            Table(
                "Degree by weight, as a multiple of that at weight 1",
                ("word", "Spearman by prompt", "of images", *(f"w = {weight:g}" for weight in weights)),
                rows,
            ),
        ),
        (
            Plot(
                "degree-response",
                "Size and number by the weight of their words",
                "weight",
                "degree, as a multiple of that at weight 1",
                tuple(Curve(word, tuple(weights), means[word]) for word in words),
            ),
        ),
        (
            Metric(
                "degree against weight, mean of each prompt: Spearman",
                mean.value,
                mean.low,
                mean.high,
                mean.count,
                MEAN_BAR,
            ),
            Metric(
                "degree against weight, single images: median Spearman (quartiles)",
                median,
                float(quartiles[0]),
                float(quartiles[1]),
                len(images),
                SINGLE_BAR,
            ),
        ),
    )


def _relative_means(
    samples: Sequence[DegreeSample], word: str, weights: Sequence[float]
) -> tuple[ClusterMean, ...]:
    """Return the mean degree at each weight over the prompts of a word, relative to weight 1."""
    own = [sample for sample in samples if sample.word == word]
    base = np.mean([sample.degree for sample in own if sample.weight == 1])
    return tuple(
        ClusterMean.from_samples(
            (sample.prompt, float(sample.degree / base)) for sample in own if sample.weight == weight
        )
        for weight in weights
    )


def _correlate_prompts(samples: Sequence[DegreeSample], word: str) -> list[float]:
    """Return the directed rank correlation of weight and mean degree for each prompt of a word."""
    own = [sample for sample in samples if sample.word == word]
    correlations = []
    for prompt in dict.fromkeys(sample.prompt for sample in own):
        by_weight: dict[float, list[float]] = {}
        for sample in own:
            if sample.prompt == prompt:
                by_weight.setdefault(sample.weight, []).append(sample.degree)
        correlations.append(
            _correlate({weight: float(np.mean(of)) for weight, of in by_weight.items()}, word)
        )
    return correlations


def _correlate_images(samples: Sequence[DegreeSample], word: str) -> list[float]:
    """Return the directed rank correlation of weight and degree for each seed of a word."""
    by_seed: dict[int, dict[float, float]] = {}
    for sample in samples:
        if sample.word == word:
            by_seed.setdefault(sample.seed, {})[sample.weight] = sample.degree
    return [_correlate(curve, word) for curve in by_seed.values()]


def _correlate(curve: dict[float, float], word: str) -> float:
    value = spearman(list(curve), list(curve.values()))
    return 0.0 if np.isnan(value) else DIRECTIONS[word] * value
