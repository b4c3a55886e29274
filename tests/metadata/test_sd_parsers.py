"""Values of promptweight and of sd-parsers, in images of every kind."""

import pytest

from tests.metadata.sd_parsers_comparison import (
    COMMENTS,
    TEXTS,
    read_own,
    read_sd_parsers,
    write_images,
    wrong_fields,
)

KINDS = [*TEXTS, *COMMENTS, "NovelAI, hidden in the pixels"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize("kind", KINDS)
def test_values_of_promptweight_are_right(images, kind):
    path, right = images[kind]
    assert wrong_fields(read_own(path), right) == []


def test_values_that_both_readers_find_are_equal(images):
    pytest.importorskip("sd_parsers", reason="sd-parsers is one of the packages of the extra `test`")
    both = [
        kind
        for kind, (path, right) in images.items()
        if any(not wrong_fields(found, right) for found in read_sd_parsers(path))
    ]
    assert {"A1111", "ComfyUI", "InvokeAI", "NovelAI", "Fooocus"} <= set(both)
