"""Colors, color scale and thresholds of heat maps, shared with the app's JavaScript through one JSON file.

`constants.json` describes every constant under `about`. `ui/promptweight_ui/static/constants.js` imports the
same file, so that the command line, the app and notebooks paint the same pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

CONSTANTS: Mapping[str, Any] = json.loads(
    files("promptweight.render").joinpath("constants.json").read_text(encoding="utf-8")
)
"""The content of `constants.json`."""
