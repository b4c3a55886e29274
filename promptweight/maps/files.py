"""Files of recorded attention: the sums of every layer as safetensors, and the token tables as JSON."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import astuple, replace
from os import PathLike
from typing import Any

from torch import Tensor

from promptweight.conditioning import ChunkLayout, Token, TokenTable, Word
from promptweight.errors import FileFormatError
from promptweight.maps.prompt_words import PlacedTable
from promptweight.maps.recording import Placement, RecordedSlot, Recording
from promptweight.messages import message
from promptweight.prompt import Options, Prompt, Span, parse

FORMAT = "promptweight attention 4"
"""Name and version of the file format, in the metadata of a file."""


def save_recording(recording: Recording, path: str | PathLike[str]) -> None:
    """Write a recording to a .safetensors file."""
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    for number, slot in enumerate(recording.slots):
        tensors[f"{number}.sums"] = slot.sums.cpu().contiguous()
        tensors[f"{number}.counts"] = slot.counts.cpu().contiguous()
    variants = {key: recording.variants(key) for key in recording.tables}
    placed_tables = [placed for of_prompt in variants.values() for variant in of_prompt for placed in variant]
    tables = list({id(placed.table): placed.table for placed in placed_tables}.values())
    table_indices = {id(table): index for index, table in enumerate(tables)}
    traces = list({id(each.trace): each.trace for each in placed_tables if each.trace is not None}.values())
    trace_indices = {id(trace): index for index, trace in enumerate(traces)}
    tensors |= {f"{index}.trace": trace.contiguous() for index, trace in enumerate(traces)}
    description = {
        "slots": [
            [slot.layers, slot.stride, slot.height, slot.width, slot.kind, slot.is_advised]
            for slot in recording.slots
        ],
        "patches": recording.patches,
        "roles": recording.roles,
        "size": recording.size,
        "placement": recording.placement,
        "tables": [_describe_table(table) for table in tables],
        "max_variants": recording.max_variants,
        "prompts": [
            [
                role,
                image,
                [
                    [
                        [
                            placed.start,
                            placed.encoders,
                            table_indices[id(placed.table)],
                            trace_indices.get(id(placed.trace)),
                        ]
                        for placed in variant
                    ]
                    for variant in of_prompt
                ],
            ]
            for (role, image), of_prompt in variants.items()
        ],
    }
    save_file(tensors, path, metadata={"format": FORMAT, "recording": json.dumps(description)})


def load_recording(path: str | PathLike[str]) -> Recording:
    """Load a file that `save_recording` wrote.

    Raises:
        FileFormatError: the file has no attention maps, or is incomplete.
        OSError: the file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise FileFormatError(message("maps-file", path=path))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        return _rebuild_recording(json.loads(metadata["recording"]), tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(message("maps-file-incomplete", path=path, reason=str(error))) from error


def _rebuild_recording(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Recording:
    """Return the recording of a description and tensors of `save_recording`."""
    tables = [_rebuild_table(table) for table in description["tables"]]
    slots = []
    for number, (layers, stride, height, width, kind, is_advised) in enumerate(description["slots"]):
        sums, counts = tensors[f"{number}.sums"], tensors[f"{number}.counts"]
        slots.append(RecordedSlot(tuple(layers), stride, height, width, sums, counts, kind, is_advised))
    height, width = description["size"]
    placement = description["placement"]
    variants = {
        (role, image): tuple(
            tuple(
                PlacedTable(
                    start, tuple(names), tables[index], None if trace is None else tensors[f"{trace}.trace"]
                )
                for start, names, index, trace in variant
            )
            for variant in of_prompt
        )
        for role, image, of_prompt in description["prompts"]
    }
    return Recording(
        slots=tuple(slots),
        roles=tuple(description["roles"]),
        tables={key: of_prompt[0] for key, of_prompt in variants.items()},
        size=(height, width),
        patches=tuple((x, y) for x, y in description["patches"]),
        other_variants={key: of_prompt[1:] for key, of_prompt in variants.items() if len(of_prompt) > 1},
        max_variants=description["max_variants"],
        placement=None if placement is None else Placement(tuple(placement[0]), tuple(placement[1])),
    )


def _describe_table(table: TokenTable) -> dict[str, Any]:
    """Return a token table as JSON data, without the options of the words: the prompt's source holds them."""
    words = [
        (word.text, word.start, word.end, word.weight, word.positions, word.index, word.occurrence)
        for word in table.words
    ]
    return {
        "source": table.prompt.source,
        "dialect": table.prompt.dialect,
        "variant": _describe_variant(table.prompt),
        "encoder": table.encoder,
        "tokens": [astuple(token) for token in table.tokens],
        "words": [[*word, known.is_punctuation] for word, known in zip(words, table.words, strict=True)],
        "chunks": table.chunks,
        "truncated_text": table.truncated_text,
        "layout": astuple(table.layout),
    }


def _rebuild_table(description: Mapping[str, Any]) -> TokenTable:
    """Return the token table of a description of `_describe_table`."""
    prompt = parse(description["source"], description["dialect"]).at()
    if description["variant"] is not None:
        prompt = _rebuild_variant(prompt, description["variant"])
    before, after, pad, length = description["layout"]
    return TokenTable(
        prompt,
        description["encoder"],
        tuple(Token(*token) for token in description["tokens"]),
        tuple(_rebuild_word(prompt, *word) for word in description["words"]),
        description["chunks"],
        description["truncated_text"],
        ChunkLayout(tuple(before), tuple(after), pad, length),
    )


def _describe_variant(prompt: Prompt) -> dict[str, Any] | None:
    """Return the parts of a prompt's text that its source does not determine; None if there are none."""
    read = (prompt.tree or parse(prompt.source, prompt.dialect)).at()
    if (read.text, read.spans) == (prompt.text, prompt.spans):
        return None
    return {
        "text": prompt.text,
        "spans": [(*span[:6], astuple(span.options), span.origin) for span in prompt.spans],
        "breaks": prompt.breaks,
        "runs": prompt.runs,
    }


def _rebuild_variant(prompt: Prompt, description: Mapping[str, Any]) -> Prompt:
    """Return the text of a description of `_describe_variant`; `prompt` is parsed from the source."""
    spans = []
    for *places, options, origin in description["spans"]:
        fields: list[Any] = [*places, Options(*_to_tuple(options)), origin]
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


def _to_tuple(value: Any) -> Any:
    """Return JSON lists, and those inside them, as tuples."""
    return tuple(map(_to_tuple, value)) if isinstance(value, list) else value


def _rebuild_word(
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
    """Return a word with the options of the span in which it begins."""
    span = bisect_right([span.clean_start for span in prompt.spans], start) - 1
    options = prompt.spans[span].options if span >= 0 else None
    return Word(text, start, end, weight, tuple(positions), index, occurrence, options, is_punctuation)
