"""Tokenization of weighted prompts: token ids, words, weights, chunks."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptweight.conditioning import TokenTable, tokenize
from promptweight.errors import ModelError, SettingError, WordNotFoundError
from promptweight.prompt import parse


def texts(table: TokenTable) -> list[str]:
    return [word.text for word in table.words]


PLAIN = [
    "",
    "um gato",
    "A Café, um coração!",
    "👩‍👩‍👧 família 🐱(🐶) ❤️",
    "a  b\n c",
    "x<|endoftext|>y",
    "ﬁ İ ẞ",
]


@pytest.mark.parametrize("text", [*PLAIN, *(unicodedata.normalize("NFD", text) for text in PLAIN)])
def test_plain_text_has_the_ids_of_the_tokenizer(text, clip_tokenizer, prompt_of):
    table = tokenize(clip_tokenizer, prompt_of(text))
    assert table.ids == [clip_tokenizer(text, padding="max_length", truncation=True).input_ids]
    assert table.rows == 77
    assert table.truncated_text == ""


@pytest.mark.parametrize("text", [*PLAIN, "a 4k photo of guarda-chuva, d'água"])
def test_plain_text_has_the_ids_of_the_real_tokenizers(
    text, real_clip_tokenizer, real_t5_tokenizer, prompt_of
):
    clip = tokenize(real_clip_tokenizer, prompt_of(text))
    assert clip.ids == [real_clip_tokenizer(text, padding="max_length", truncation=True).input_ids]
    t5 = tokenize(real_t5_tokenizer, prompt_of(text), max_length=32, max_chunks=1)
    assert t5.ids == [real_t5_tokenizer(text, padding="max_length", truncation=True, max_length=32).input_ids]


def test_weights_leave_the_ids_unchanged(clip_tokenizer, prompt_of):
    weighted = tokenize(clip_tokenizer, prompt_of("um ga", ("to ver", 1.4), "melho"))
    assert weighted.ids == tokenize(clip_tokenizer, prompt_of("um gato vermelho")).ids


def test_tokens_have_kinds_positions_weights_and_offsets(clip_tokenizer, prompt_of):
    table = tokenize(clip_tokenizer, prompt_of("um ", ("gato", 1.4), " um"))
    assert [token.kind for token in table.tokens[:6]] == ["bos", "text", "text", "text", "eos", "pad"]
    assert [token.position for token in table.tokens] == list(range(77))
    assert table.weights[:5] == [1.0, 1.0, 1.4, 1.0, 1.0]
    assert set(table.weights[5:]) == {1.0}
    assert [(token.start, token.end, token.span) for token in table.tokens[:5]] == [
        *[(0, 0, -1), (0, 2, 0), (3, 7, 1), (8, 10, 2), (0, 0, -1)]
    ]


def test_token_in_two_spans_has_the_mean_weight_of_its_characters(clip_tokenizer, prompt_of):
    table = tokenize(clip_tokenizer, prompt_of(("gat", 2.0), "o"))
    assert table.weights[1] == pytest.approx((3 * 2.0 + 1.0) / 4)
    assert table.words[0].weight == pytest.approx((3 * 2.0 + 1.0) / 4)


def test_words_have_the_positions_of_all_their_tokens(clip_tokenizer, prompt_of):
    table = tokenize(clip_tokenizer, prompt_of("um gato ", ("vermelho", 0.5), "!"))
    um, gato, vermelho, mark = table.words
    assert (um.positions, gato.positions, vermelho.positions, mark.positions) == ((1,), (2,), (3, 4, 5), (6,))
    assert [piece.piece for piece in table.tokens[3:6]] == ["ver", "mel", "ho</w>"]
    assert (vermelho.weight, vermelho.start, vermelho.end) == (0.5, 8, 16)
    assert vermelho.options.region == "vermelho"
    assert [word.index for word in table.words] == [0, 1, 2, 3]
    assert [word.is_punctuation for word in table.words] == [False, False, False, True]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_combining_accents_belong_to_their_word(form, clip_tokenizer, real_clip_tokenizer, prompt_of):
    text = unicodedata.normalize(form, "Coração árvore é")
    for tokenizer in (clip_tokenizer, real_clip_tokenizer):
        table = tokenize(tokenizer, prompt_of(text))
        assert texts(table) == text.split()
        rows = [row for word in table.words for row in word.positions]
        assert rows == [token.position for token in table.tokens if token.kind == "text"]


def test_emoji_sequence_is_one_word(real_clip_tokenizer, prompt_of):
    table = tokenize(real_clip_tokenizer, prompt_of("👩‍👩‍👧 (", ("🐱", 1.2), ") ❤️!"))
    assert texts(table) == ["👩‍👩‍👧", "(", "🐱", ")", "❤️", "!"]
    assert all(word.positions for word in table.words)
    assert table.find("🐱")[0].weight == 1.2


def test_words_that_share_a_token_each_have_its_row(real_clip_tokenizer, prompt_of):
    table = tokenize(real_clip_tokenizer, prompt_of("❤️❤️"))
    assert texts(table) == ["❤️", "❤️"]
    rows = {token.position for token in table.tokens if token.kind == "text"}
    assert {row for word in table.words for row in word.positions} == rows
    assert all(word.positions for word in table.words)


def test_find_ignores_case_and_composition_and_counts_occurrences(clip_tokenizer, prompt_of):
    table = tokenize(clip_tokenizer, prompt_of("um Gato vermelho e um gato, CORAÇÃO"))
    assert [word.start for word in table.find("GATO")] == [3]
    assert [word.start for word in table.find("gato", 1)] == [22]
    assert [word.text for word in table.find("gato vermelho")] == ["Gato", "vermelho"]
    assert table.find(unicodedata.normalize("NFD", "coração"))[0].text == "CORAÇÃO"
    assert [word.occurrence for word in table.words if word.text.lower() == "gato"] == [0, 1]


def test_find_of_a_missing_word_lists_the_words(clip_tokenizer, prompt_of):
    table = tokenize(clip_tokenizer, prompt_of("um gato, um gato"))
    with pytest.raises(WordNotFoundError, match="'rato' is not in the prompt; its words are: 'um', 'gato'"):
        table.find("rato")
    with pytest.raises(WordNotFoundError, match="occurrence of 'gato' must be less than 2"):
        table.find("gato", 2)
    with pytest.raises(WordNotFoundError, match="is not in the prompt"):
        table.find("")
    with pytest.raises(WordNotFoundError, match="its words are: none"):
        tokenize(clip_tokenizer, prompt_of("")).find("gato")


def test_long_text_takes_chunks_of_75_tokens(clip_tokenizer, prompt_of):
    table = tokenize(clip_tokenizer, prompt_of("um " * 100))
    assert (table.chunks, table.rows) == (2, 154)
    assert [sum(token.kind == "text" and token.chunk == k for token in table.tokens) for k in (0, 1)] == [
        75,
        25,
    ]
    assert [token.kind for token in table.tokens[76:79]] == ["eos", "bos", "text"]
    assert table.words[75].positions == (78,)


def test_comma_near_the_end_of_a_chunk_moves_the_rest_to_the_next(clip_tokenizer, prompt_of):
    def chunk_sizes(*counts: int) -> list[int]:
        table = tokenize(clip_tokenizer, prompt_of(", ".join("um " * count for count in counts)))
        return [
            sum(token.kind == "text" and token.chunk == k for token in table.tokens)
            for k in range(table.chunks)
        ]

    assert chunk_sizes(60, 30) == [61, 30]
    assert chunk_sizes(55, 35) == [56, 35]  # the comma is the 56th token: 20 back from the 75th
    assert chunk_sizes(54, 35) == [75, 15]  # one further back


def test_break_begins_a_chunk(clip_tokenizer, prompt_of):
    table = tokenize(clip_tokenizer, prompt_of("um gato", "BREAK", "um", "BREAK", "BREAK", "gato"))
    assert [sum(t.kind == "text" and t.chunk == k for t in table.tokens) for k in range(table.chunks)] == [
        2,
        1,
        0,
        1,
    ]
    assert texts(table) == ["um", "gato", "um", "gato"]
    assert table.find("um", 1)[0].positions == (78,)


def test_max_chunks_truncates_and_keeps_the_truncated_text(clip_tokenizer, prompt_of):
    table = tokenize(clip_tokenizer, prompt_of("um " * 75, "BREAK", "gato vermelho"), max_chunks=1)
    assert (table.chunks, table.truncated_text) == (1, "gato vermelho")
    assert "gato" not in texts(table)
    with pytest.raises(WordNotFoundError, match="was cut: 'gato vermelho'"):
        table.find("gato")
    two = tokenize(clip_tokenizer, prompt_of("um " * 200), max_chunks=2)
    assert (two.chunks, two.truncated_text) == (2, ("um " * 50).strip())


def test_t5_has_no_beginning_token_and_ignores_breaks(real_t5_tokenizer, prompt_of):
    table = tokenize(
        real_t5_tokenizer, prompt_of("the house", "BREAK", ("tree", 2.0)), max_length=16, max_chunks=1
    )
    assert [token.kind for token in table.tokens[:5]] == ["text", "text", "text", "eos", "pad"]
    assert table.weights[:4] == [1.0, 1.0, 2.0, 1.0]
    assert texts(table) == ["the", "house", "tree"]


def test_pad_appends_empty_chunks(clip_tokenizer, prompt_of):
    table = tokenize(clip_tokenizer, prompt_of("um gato"))
    assert table.pad(1) is table
    longer = table.pad(3)
    assert (longer.chunks, longer.rows, longer.words) == (3, 231, table.words)
    assert longer.ids[1] == longer.ids[2] == clip_tokenizer("", padding="max_length").input_ids
    assert [token.position for token in longer.tokens] == list(range(231))


def test_textual_inversion_of_several_vectors_is_one_word(make_clip_tokenizer, prompt_of):
    from diffusers.loaders import TextualInversionLoaderMixin

    tokenizer = make_clip_tokenizer()
    tokenizer.add_tokens(["<toy>", "<toy>_1", "<toy>_2", "<one>"])
    text = "um <toy> um <one>"
    table = tokenize(tokenizer, prompt_of("um ", ("<toy>", 1.3), " um <one>"))
    converted = TextualInversionLoaderMixin().maybe_convert_prompt(text, tokenizer)
    assert converted == "um <toy> <toy>_1 <toy>_2 um <one>"
    assert table.ids == [tokenizer(converted, padding="max_length").input_ids]
    assert table.weights[2:5] == [1.3] * 3
    assert texts(table) == ["um", "<toy>", "um", "<one>"]
    assert table.words[1].positions == (2, 3, 4)
    assert not table.words[1].is_punctuation
    assert table.find("um <toy>") == table.words[:2]


def test_slow_tokenizer_raises(prompt_of):
    with pytest.raises(ModelError, match="no character offsets"):
        tokenize(object(), prompt_of("um"))


def test_max_length_without_space_for_text_raises(clip_tokenizer, prompt_of):
    with pytest.raises(SettingError, match=r"max_length must be from 3 to .*; got 2"):
        tokenize(clip_tokenizer, prompt_of("um"), max_length=2)


@settings(max_examples=60, deadline=None)
@given(fragments=st.lists(st.tuples(st.text(max_size=8), st.sampled_from([1.0, 0.5, 1.5])), max_size=6))
def test_any_text_gives_a_consistent_table(fragments, clip_tokenizer, prompt_of):
    for dialect in ("pw", "a1111", "comfy", "compel"):
        table = tokenize(clip_tokenizer, prompt_of(*fragments, dialect=dialect))
        assert [token.position for token in table.tokens] == list(range(table.chunks * 77))
        word_rows = {row for word in table.words for row in word.positions}
        assert word_rows == {token.position for token in table.tokens if token.kind == "text"}
        weights = [weight for _, weight in fragments] or [1.0]
        weights.append(1.0)
        assert all(min(weights) <= token.weight <= max(weights) for token in table.tokens)


@pytest.mark.parametrize(
    ("unit", "lengths"),
    [
        # 21 tokens, 18 in a chunk: the sentence ends at token 3, the phrase at 6, the last whole word at 17
        ("sentences", [3, 18]),
        ("phrases", [6, 15]),
        ("words", [17, 4]),
        ("tokens", [18, 3]),
    ],
)
def test_unit_of_text_is_kept_whole_in_chunks(unit, lengths, clip_tokenizer):
    text = "um gato. um um, " + "gato " * 11 + "xyz gato"
    table = tokenize(clip_tokenizer, parse(text, "compel").at(), max_length=20, unit=unit)
    rows = [table.tokens[start : start + 20] for start in range(0, table.rows, 20)]
    assert [sum(token.kind == "text" for token in row) for row in rows] == lengths


def test_unit_without_an_end_fills_chunks_and_a_break_begins_one(clip_tokenizer):
    table = tokenize(clip_tokenizer, parse("x" * 40, "compel").at(), max_length=20, unit="sentences")
    assert table.chunks == 3
    broken = parse("um BREAK gato", "a1111").at()
    assert tokenize(clip_tokenizer, broken, unit="words").chunks == 2
