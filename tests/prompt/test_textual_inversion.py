"""Names of textual inversions in prompts."""

from promptweight.prompt import parse


def test_note_embeddings_finds_names_with_their_offsets():
    prompt = parse("(embedding:foo:1.2), <cat-toy> e EasyNegative", embeddings=["easynegative"]).at()
    assert [embedding.name for embedding in prompt.embeddings] == ["foo", "<cat-toy>", "EasyNegative"]
    for embedding in prompt.embeddings:
        found = prompt.source[embedding.start : embedding.end]
        assert found == prompt.text[embedding.clean_start : embedding.clean_end]
        assert embedding.name in found
    assert [e.name for e in parse("(embedding:bar:1.1) embedding:foo.pt, x", "comfy").at().embeddings] == [
        "bar",
        "foo.pt",
    ]
