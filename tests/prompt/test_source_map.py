"""Texts cut out of a source."""

from promptweight.prompt.source_map import MappedText


def test_mapped_text_of_ranges_maps_back_to_the_source():
    text = MappedText.whole("um gato azul").select([(0, 3), (8, 12)])
    assert text.text == "um azul"
    assert [text.source_start(offset) for offset in (0, 3, 6)] == [0, 8, 11]
    assert text.source_end(3) == 3
    assert text.runs_in(2, 5) == [(2, 2, 1), (3, 8, 2)]


def test_mapped_text_without_ranges_is_empty():
    text = MappedText.whole("um gato").select([])
    assert (text.text, text.source_start(0), text.source_end(0)) == ("", 0, 0)
