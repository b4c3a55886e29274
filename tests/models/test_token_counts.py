"""Tokens that are counted without torch."""

from promptweight.conditioning.families import FAMILIES
from promptweight.models.tokenizers import ONE_CHUNK, Counter, token_tables
from promptweight.prompt import parse


def test_tokens_are_counted_as_with_torch(model_folder):
    for text in ("um (gato:1.4) vermelho", "a, " * 100, ""):
        prompt = parse(text)
        counted = Counter(model_folder).tables(prompt)
        real = token_tables(prompt, model_folder)
        assert [table.ids for _, table in counted] == [table.ids for table in real]
    for family in FAMILIES:
        known = next((each for start, each in ONE_CHUNK.items() if family.pipelines[0].startswith(start)), {})
        assert known == {
            kind.tokenizer: family.max_sequence_length if kind.takes_length else None
            for kind in family.encoders
            if not kind.chunked
        }
