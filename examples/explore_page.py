"""Pages with a recorded run of the app's Explore tab, which need no Python: open out/explore/index.html.

python examples/explore_page.py --output out/explore

The documentation site has the same pages.
"""

import argparse
from pathlib import Path

from promptweight_ui.recorded_page import write_pages


def main() -> None:
    """Write the pages, and print their paths."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("out/explore"))
    parser.add_argument("--steps", type=int, default=25)
    options = parser.parse_args()
    for path in write_pages(options.output, steps=options.steps):
        print(path)


if __name__ == "__main__":
    main()
