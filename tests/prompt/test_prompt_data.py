"""A parsed prompt as JSON data."""

import json

from promptweight.prompt import parse, to_data


def test_to_data_is_json():
    data = json.loads(json.dumps(to_data(parse("(a:1.2{layers=up}) \ud800 AND [b:c:3] <lora:x:1>").at())))
    assert data["fragments"][0] == {"text": "a", "weight": 1.2}
    assert data["spans"][0]["options"]["layers"] == ["up"]
    assert data["scheduled"] is True
