"""Report section of negative prompts: objects that vanish and objects that stay, by negative guidance."""

from __future__ import annotations

from collections.abc import Sequence

from promptweight.evaluation.negative_prompts import NEGATIVE_CASES, NegativeSample, measure_negative_prompts
from promptweight.evaluation.prompt_fidelity import held_out_scenes
from promptweight.evaluation.report.document import ReportSection, Table
from promptweight.evaluation.report.subject import EvaluatedModel
from promptweight.evaluation.statistics import Proportion


def report_negative_prompts(model: EvaluatedModel) -> ReportSection:
    """Measure the effect of negative prompts and return its section."""
    scenes = list(held_out_scenes(model.fraction(3), 2, False, model.seed + 110))
    return build_negative_section(measure_negative_prompts(model.pipeline, scenes, seed=model.seed))


def build_negative_section(samples: Sequence[NegativeSample]) -> ReportSection:
    """Return the section of the samples of `measure_negative_prompts`."""
    rows = []
    for case in NEGATIVE_CASES:
        own = [sample for sample in samples if sample.case == case.name]
        rows.append(
            (
                case.name,
                str(case.guidance),
                "default" if case.guidance_scale is None else f"{case.guidance_scale:g}",
                Proportion.from_outcomes(not sample.named_present for sample in own),
                Proportion.from_outcomes(not sample.named_kind_present for sample in own),
                Proportion.from_outcomes(sample.other_present for sample in own),
                Proportion.from_outcomes(sample.other_present and not sample.named_present for sample in own),
                len(own),
            )
        )
    columns = (
        "case",
        "negative guidance",
        "guidance scale",
        "object absent",
        "kind absent",
        "other present",
        "absent, other present",
        "n",
    )
    return ReportSection(
        "negative-prompts",
        "Negative prompts with and without classifier-free guidance",
        "The prompt describes two objects, and the negative prompt names the first one by noun and color. "
        "“object absent”: no object of this kind and color is in the image; “kind absent”: none of this kind "
        "in any color; “other present”: the other object is there in its color. All cases have the same "
        "scenes and noise; scenes are omitted whose image without a negative prompt, at the same guidance "
        "scale, lacks one of the objects. At guidance scale 1 the negative prompt acts in attention or not "
        "at all.",
        (Table("Objects named in the negative prompt", columns, tuple(rows)),),
    )
