"""Tour of the app by `tests/ui/tour.py`: it visits every tab, without an error."""

from PIL import Image

from tests.ui import axe
from tests.ui.page_driving import BROWSER
from tests.ui.tour import visit

pytestmark = BROWSER


def test_tour_visits_every_tab(served, browser, tmp_path):
    found = visit(browser, served.url, "pt-br", tmp_path)
    assert found["errors"] == []
    steps = ["open", "generate", "word", "failure", "compare", "explore-text", "explore-image"]
    assert list(found["seconds"]) == [*steps, "explore-tour", "history", "regions"]
    if axe.FILE.exists():
        assert list(found["findings"]) == list(found["seconds"])
        assert all(list(counts) == list(axe.IMPACTS) for counts in found["findings"].values())
    assert all(seconds > 0 for seconds in found["seconds"].values())
    shots = sorted(path.name for path in tmp_path.iterdir())
    assert shots == [
        f"pt-br-light-1440-{number:02d}-{name}.png" for number, name in enumerate(found["seconds"], start=1)
    ]
    for name in shots:
        with Image.open(tmp_path / name) as image:
            assert image.width == 1440
