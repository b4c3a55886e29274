"""Findings of axe-core on a page of the app."""

from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
"""axe-core, installed by `npm ci`."""

IMPACTS = ("minor", "moderate", "serious", "critical")
THEMES = ("light", "dark")


def findings(page: Any) -> dict[str, dict[str, list[str]]]:
    """Return a line for each element that breaks a rule of axe, by theme and by impact.

    The page is checked in both themes, and gets its own back. axe is injected at the first call.
    """
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(path=FILE)
    is_dark = page.evaluate("document.body.classList.contains('dark')")
    found = {}
    for theme in THEMES:
        _set_dark(page, theme == "dark")
        found[theme] = _lines(page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"])
    _set_dark(page, is_dark)
    return found


def serious_findings(found: dict[str, dict[str, list[str]]]) -> list[str]:
    """Return the lines of `findings` that are serious or critical."""
    return [
        f"{theme}: {line}" for theme, by in found.items() for impact in IMPACTS[2:] for line in by[impact]
    ]


def _lines(violations: list[dict[str, Any]]) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {impact: [] for impact in IMPACTS}
    for each in violations:
        lines[each["impact"]] += [
            f"{each['id']}: {node['html'][:160]} {node['failureSummary'].splitlines()[1:2]}"
            for node in each["nodes"]
        ]
    return lines


def _set_dark(page: Any, is_dark: bool) -> None:
    page.evaluate("(isDark) => document.body.classList.toggle('dark', isDark)", is_dark)
    page.wait_for_function("document.getAnimations().every((each) => each.playState !== 'running')")
