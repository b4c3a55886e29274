"""Findings of axe-core on a page of the app."""

from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
"""axe-core, installed by `npm ci`."""

IMPACTS = ("minor", "moderate", "serious", "critical")


def violations(page: Any) -> list[dict[str, Any]]:
    """Return the violations of axe's rules on a page; it is injected at the first call."""
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(path=FILE)
    page.wait_for_function("document.getAnimations().every((each) => each.playState !== 'running')")
    return page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]


def count_by_impact(page: Any) -> dict[str, int]:
    """Return the number of elements with a violation, by its impact."""
    counts = dict.fromkeys(IMPACTS, 0)
    for each in violations(page):
        counts[each["impact"]] += len(each["nodes"])
    return counts


def serious_findings(page: Any) -> list[str]:
    """Return each serious or critical violation as its rule and the first elements that break it."""
    return [
        f"{each['id']}: {node['html'][:160]} {node['failureSummary'].splitlines()[1:2]}"
        for each in violations(page)
        if each["impact"] in IMPACTS[2:]
        for node in each["nodes"][:4]
    ]
