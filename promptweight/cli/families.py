"""`promptweight families`: the supported pipeline classes of diffusers and their text encoders."""

from __future__ import annotations

from typing import Any

from promptweight.cli import console, options


def families(as_json: options.AsJson = False) -> None:
    """List the supported model families: pipeline classes, text encoders, and where weights act."""
    rows = _list_families()
    if as_json:
        console.print_json(rows)
        return
    for row in rows:
        encoders, places = ", ".join(row["text_encoders"]), " or ".join(row["weights_act_in"])
        console.print_lines([f"{row['family']} ({encoders}; weights act in {places})"])
        console.print_lines(f"  {name}" for name in row["pipelines"])


def _list_families() -> list[dict[str, Any]]:
    """Return the families as JSON values."""
    from promptweight.conditioning import FAMILIES

    return [
        {
            "family": family.name,
            "text_encoders": [encoder.name for encoder in family.encoders],
            # embeddings that the pipeline makes itself carry no weights
            "weights_act_in": ["attention"] if family.outputs else ["embeddings", "attention"],
            "guidance": family.guidance_argument,
            "pipelines": list(family.pipelines),
        }
        for family in FAMILIES
    ]
