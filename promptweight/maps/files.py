"""Recordings as safetensors files: the sums of every layer, and as JSON the words they belong to."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import astuple, replace
from os import PathLike
from typing import Any

from torch import Tensor

from promptweight.conditioning import ChunkLayout, Token, TokenTable, Word
from promptweight.errors import SettingError
from promptweight.maps.prompt_words import PlacedTable
from promptweight.maps.recording import RecordedSlot, Recording
from promptweight.prompt import Options, Prompt, Span, parse

FORMAT = "promptweight attention 1"


def save_recording(recording: Recording, path: str | PathLike[str]) -> None:
    """Write a recording to a .safetensors file."""
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    for number, slot in enumerate(recording.slots):
        tensors[f"{number}.sums"] = slot.sums.cpu().contiguous()
        tensors[f"{number}.counts"] = slot.counts.cpu().contiguous()
    variants = {lane: recording.variants(lane) for lane in recording.tables}
    placed = [each for of_lane in variants.values() for variant in of_lane for each in variant]
    tables = list({id(each.table): each.table for each in placed}.values())
    numbers = {id(table): number for number, table in enumerate(tables)}
    description = {
        "slots": [
            [slot.layers, slot.stride, slot.height, slot.width, slot.kind, slot.is_advised]
            for slot in recording.slots
        ],
        "patches": recording.patches,
        "roles": recording.roles,
        "size": recording.size,
        "tables": [describe_table(table) for table in tables],
        "voices": recording.max_variants,
        "lanes": [
            [
                role,
                image,
                [
                    [[each.start, each.encoders, numbers[id(each.table)]] for each in variant]
                    for variant in of_lane
                ],
            ]
            for (role, image), of_lane in variants.items()
        ],
    }
    save_file(tensors, path, metadata={"format": FORMAT, "recording": json.dumps(description)})


def load_recording(path: str | PathLike[str]) -> Recording:
    """Read a file that `save_recording` wrote.

    Raises:
        SettingError: the file holds something else.
        OSError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise SettingError(f"{path} holds no attention maps; AttentionMaps.save writes such files")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return rebuild(json.loads(metadata["recording"]), tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, SettingError):
            raise
        raise SettingError(f"{path} is not a whole file of attention maps: {error}") from error


def rebuild(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Recording:
    """The recording that `save_recording` took apart."""
    tables = [rebuild_table(table) for table in description["tables"]]
    slots = []
    for number, (layers, stride, height, width, kind, *advised) in enumerate(description["slots"]):
        sums, counts = tensors[f"{number}.sums"], tensors[f"{number}.counts"]
        slots.append(RecordedSlot(tuple(layers), stride, height, width, sums, counts, kind, *advised))
    height, width = description["size"]
    variants = {
        (role, image): tuple(
            tuple(PlacedTable(start, tuple(names), tables[n]) for start, names, n in variant)
            for variant in of_lane
        )
        for role, image, of_lane in description["lanes"]
    }
    return Recording(
        slots=tuple(slots),
        roles=tuple(description["roles"]),
        tables={lane: of_lane[0] for lane, of_lane in variants.items()},
        size=(height, width),
        patches=tuple((x, y) for x, y in description["patches"]),
        other_variants={lane: of_lane[1:] for lane, of_lane in variants.items() if len(of_lane) > 1},
        max_variants=description["voices"],
    )


def describe_table(table: TokenTable) -> dict[str, Any]:
    """A token table for JSON: the prompt as its source, the words without the options that it gives them."""
    words = [
        (word.text, word.start, word.end, word.weight, word.positions, word.index, word.occurrence)
        for word in table.words
    ]
    return {
        "source": table.prompt.source,
        "dialect": table.prompt.dialect,
        "variant": describe_variant(table.prompt),
        "encoder": table.encoder,
        "tokens": [astuple(token) for token in table.tokens],
        "words": [[*word, known.is_punctuation] for word, known in zip(words, table.words, strict=True)],
        "chunks": table.chunks,
        "cut": table.cut,
        "frame": astuple(table.frame),
    }


def rebuild_table(description: Mapping[str, Any]) -> TokenTable:
    """The token table that `describe_table` described."""
    prompt = parse(description["source"], description["dialect"])
    if description["variant"] is not None:
        prompt = rebuild_variant(prompt, description["variant"])
    before, after, pad, length = description["frame"]
    return TokenTable(
        prompt,
        description["encoder"],
        tuple(Token(*token) for token in description["tokens"]),
        tuple(rebuild_word(prompt, *word) for word in description["words"]),
        description["chunks"],
        description["cut"],
        ChunkLayout(tuple(before), tuple(after), pad, length),
    )


def describe_variant(prompt: Prompt) -> dict[str, Any] | None:
    """What one of several texts of a prompt has of its own; None where the source alone gives it."""
    read = parse(prompt.source, prompt.dialect)
    if (read.text, read.spans) == (prompt.text, prompt.spans):
        return None
    return {
        "text": prompt.text,
        "spans": [astuple(span) for span in prompt.spans],
        "breaks": prompt.breaks,
        "runs": prompt.runs,
    }


def rebuild_variant(prompt: Prompt, description: Mapping[str, Any]) -> Prompt:
    """The text that `describe_variant` described, of the prompt as it is read from its source."""
    spans = []
    for *places, options, origin in description["spans"]:
        values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in options]
        fields: list[Any] = [*places, Options(*values), origin]
        spans.append(Span(*fields))
    return replace(
        prompt,
        text=description["text"],
        spans=tuple(spans),
        breaks=tuple(description["breaks"]),
        runs=tuple((clean_start, start, length) for clean_start, start, length in description["runs"]),
        parts=(),
        scheduled=False,
    )


def rebuild_word(
    prompt: Prompt,
    text: str,
    start: int,
    end: int,
    weight: float,
    positions: list[int],
    index: int,
    occurrence: int,
    is_punctuation: bool,
) -> Word:
    """A word with the options of the span in which it begins."""
    span = bisect_right([span.clean_start for span in prompt.spans], start) - 1
    options = prompt.spans[span].options if span >= 0 else None
    return Word(text, start, end, weight, tuple(positions), index, occurrence, options, is_punctuation)
