"""Tour of the app by `tests/ui/tour.py`: every tab without an error, or a serious finding of axe-core."""

import pytest
from PIL import Image

from promptweight_ui.i18n import LANGUAGES
from tests.ui import axe
from tests.ui.page_driving import BROWSER
from tests.ui.tour import visit

pytestmark = BROWSER


@pytest.mark.parametrize("language", LANGUAGES)
def test_tour_visits_every_tab(served, browser, tmp_path, language):
    found = visit(browser, served.url, language, tmp_path)
    assert found["errors"] == []
    steps = ["open", "generate", "word", "failure", "compare", "explore-text", "explore-image"]
    assert list(found["seconds"]) == [*steps, "explore-tour", "history", "regions"]
    if axe.FILE.exists():
        assert list(found["findings"]) == list(found["seconds"])
        serious = {name: axe.serious_findings(by) for name, by in found["findings"].items()}
        assert {name: lines for name, lines in serious.items() if lines} == {}
    assert all(seconds > 0 for seconds in found["seconds"].values())
    shots = sorted(path.name for path in tmp_path.iterdir())
    assert shots == [
        f"{language}-light-1440-{number:02d}-{name}.png"
        for number, name in enumerate(found["seconds"], start=1)
    ]
    for name in shots:
        with Image.open(tmp_path / name) as image:
            assert image.width == 1440
