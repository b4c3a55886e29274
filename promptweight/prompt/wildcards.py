r"""Wildcards: random choices `{a|b}`, `{2$$a|b}` and files of choices `__name__`, made with a seed.

They are expanded before a prompt is parsed, in any dialect. Braces without a bar or `$$` stay as they are, so
that the options of a weight, `{steps=0.2-0.8}`, pass through; `\{` and `\}` are braces as text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from promptweight.errors import SettingError
from promptweight.messages import message
from promptweight.prompt.literals import parse_finite

MARK = re.compile(r"\\.|\$\$|[{}|]|__(?=[\w.*~-])", re.DOTALL)
WILDCARD = re.compile(r"__~?([\w.*-](?:[\w./* -]*?[\w.*-])??)__")
COUNT = re.compile(r"\s*+(?:(\d{1,4})(?:\s*+(-)\s*+(\d{1,4})?+)?+|-\s*+(\d{1,4}))\s*+")
WEIGHT = re.compile(r"\s*+([0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)\s*+::")
OTHER_METHODS = ("@", "!")
"""Signs after an opening brace for choices in turn or of every combination, which stay as they are."""
MAX_NAME_LENGTH = 200
MAX_WILDCARD_DEPTH = 16
MAX_CHOICES = 100_000


@dataclass(slots=True)
class _Choice:
    """A choice, `{low-high$$separator$$a|b}`; each option is a list of items."""

    options: list[list[_Item]] = field(default_factory=lambda: [[]])
    low: int = 1
    high: int | None = 1  # None: all options
    separator: list[_Item] = field(default_factory=lambda: [", "])
    is_choice: bool = False  # whether there is a bar or a count
    dollars: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Wildcard:
    """A wildcard, `__name__`, which is a random line of a file."""

    name: str


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the file of a wildcard, which may have choices again."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class _Sequence:
    """Items one after the other: braces that make no choice, with their content."""

    items: list[_Item]


_Item = str | _Choice | _Wildcard | _Line | _Sequence


def expand(text: str, seed: int, wildcards: str | Path | None = None) -> str:
    """Make the random choices of a prompt; the same text, seed and files give the same result anywhere.

    `{a|b}` is one of its options, `{2$$a|b|c}` two different ones joined by `, `, `{1-3$$ e $$a|b|c}` one to
    three joined by ` e `; without a bound, 1 or all of them count. `{3::a|b}` gives a three times the
    probability of b. `__name__` is a line of `name.txt` in the folder `wildcards` (`__cores/quentes__` for a
    file in a subfolder, `__cores*__` for several files; `#` begins a comment line, `3::` gives a line three
    times the probability), and the line may have choices again. `{2$$__name__}` is two different lines.

    Args:
        text: the prompt.
        seed: the seed of the choices.
        wildcards: the folder of the wildcard files; without it, `__name__` stays.

    Raises:
        SettingError: for a wildcard file that is missing, empty, outside of the folder, or contains itself.

    >>> expand("um {gato|rato}", seed=1) in ("um gato", "um rato")
    True
    """
    if not ("{" in text or "}" in text or (wildcards is not None and "__" in text)):
        return text
    return _Expander(random.Random(seed), None if wildcards is None else Path(wildcards)).expand(text)


class _Expander:
    """The random numbers and the files of one expansion."""

    def __init__(self, source: random.Random, folder: Path | None) -> None:
        self.source = source
        self.folder = folder
        self.lines: dict[str, list[tuple[float, str]]] = {}
        self.choices = 0

    def draw_below(self, count: int) -> int:
        """Return an integer from 0 to `count` - 1; only `random()` is the same in every Python."""
        return min(int(self.source.random() * count), count - 1)

    def expand(self, text: str) -> str:
        """Parse and choose; a stack holds the nesting, so that any depth is possible."""
        out: list[str] = []
        stack: list[tuple[Iterator[_Item], str | None]] = [
            (iter(_parse_template(text, self.folder is not None)), None)
        ]
        while stack:
            items, _ = stack[-1]
            item = next(items, None)
            if item is None:
                stack.pop()
            elif isinstance(item, str):
                out.append(item)
            elif isinstance(item, _Sequence):
                stack.append((iter(item.items), None))
            elif isinstance(item, _Choice):
                stack.append((iter(self.choose(item)), None))
            else:
                names = [name for _, name in stack if name is not None]
                if item.name in names or len(names) >= MAX_WILDCARD_DEPTH:
                    chain = " > ".join([*names, item.name])
                    raise SettingError(message("wildcard-cycle", name=item.name, chain=chain))
                line = item.text if isinstance(item, _Line) else self.draw_line(item.name)
                stack.append((iter(_parse_template(line, True)), item.name))
        return "".join(out)

    def count_choice(self) -> None:
        """Count one more random choice."""
        self.choices += 1
        if self.choices > MAX_CHOICES:
            raise SettingError(message("wildcard-choices", most=MAX_CHOICES))

    def choose(self, choice: _Choice) -> list[_Item]:
        """Return the items of the chosen options, with separators between."""
        self.count_choice()
        options = [_split_weight(option) for option in choice.options]
        if len(options) == 1 and (name := _only_wildcard(options[0][1])):
            options = [(weight, [_Line(name, text)]) for weight, text in self.read_lines(name)]
        high = len(options) if choice.high is None else max(choice.low, choice.high)
        count = choice.low + self.draw_below(high - choice.low + 1)
        items: list[_Item] = []
        for number in range(min(count, len(options))):
            index = self.draw_index([weight for weight, _ in options])
            if number:
                items += choice.separator
            items += options.pop(index)[1]
        return items

    def draw_index(self, weights: list[float]) -> int:
        """Return a random index, with probabilities in proportion to the weights."""
        mark = self.source.random() * sum(weights)
        index = 0
        while index < len(weights) - 1 and mark >= weights[index]:
            mark -= weights[index]
            index += 1
        return index

    def draw_line(self, name: str) -> str:
        """Return a random line of a wildcard file."""
        lines = self.read_lines(name)
        self.count_choice()
        if all(weight == 1 for weight, _ in lines):
            return lines[self.draw_below(len(lines))][1]
        return lines[self.draw_index([weight for weight, _ in lines])][1]

    def read_lines(self, name: str) -> list[tuple[float, str]]:
        """Return the lines of a wildcard, of all files where its name has an asterisk, with their weights."""
        if name not in self.lines:
            names = self.find_files(name) if "*" in name else [name]
            self.lines[name] = [_read_weight(line) for each in names for line in self.read_file(each)]
        return self.lines[name]

    def find_files(self, pattern: str) -> list[str]:
        """Return the names of the wildcards that a pattern matches; `**` matches folders in folders."""
        assert self.folder is not None
        pattern = (
            "**/*" if pattern == "**" else pattern.removesuffix("/**") + "/**/*" * pattern.endswith("/**")
        )
        try:
            paths = sorted(self.folder.glob(f"{pattern}.txt"))
        except (ValueError, NotImplementedError):
            paths = []
        if not paths:
            raise SettingError(message("wildcard-none", name=pattern, folder=self.folder))
        return [path.relative_to(self.folder).with_suffix("").as_posix() for path in paths]

    def read_file(self, name: str) -> list[str]:
        """Return the lines of a wildcard file, without comments."""
        assert self.folder is not None
        folder = self.folder.resolve()
        path = (folder / f"{name}.txt").resolve()
        if not path.is_relative_to(folder):
            raise SettingError(message("wildcard-outside", name=name, folder=folder))
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(message("wildcard-file", name=name, path=path, reason=str(error))) from error
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        if not lines:
            raise SettingError(message("wildcard-empty", path=path))
        return lines


@lru_cache(maxsize=16)
def _parse_template(text: str, has_files: bool) -> list[_Item]:
    """Return the text as items, which stay as they are: choices nest, and unclosed braces are text.

    Args:
        text: the text.
        has_files: whether `__name__` is a wildcard.
    """
    root = _Choice()
    open_choices = [root]
    offset = 0
    for match in MARK.finditer(text):
        start, mark = match.start(), match[0]
        if start < offset:
            continue
        open_choices[-1].options[-1].append(text[offset:start])
        offset = match.end()
        inner = open_choices[-1]
        if mark == "{":
            open_choices.append(_Choice())
        elif mark == "|" and inner is not root:
            inner.options.append([])
            inner.is_choice = True
        elif mark == "$$" and inner is not root and len(inner.options) == 1 and len(inner.dollars) < 2:
            inner.dollars.append(len(inner.options[0]))
            inner.options[0].append("$$")
        elif mark == "}" and inner is not root:
            open_choices.pop()
            open_choices[-1].options[-1].append(_close_choice(inner))
        elif mark == "__" and has_files and (found := _wildcard_at(text, start)):
            inner.options[-1].append(_Wildcard(found[1]))
            offset = found.end()
        else:
            inner.options[-1].append(mark[1] if mark in ("\\{", "\\}") else mark)
    open_choices[-1].options[-1].append(text[offset:])
    while len(open_choices) > 1:
        unclosed = open_choices.pop()
        open_choices[-1].options[-1].append(_as_text(unclosed, ""))
    return root.options[0]


def _wildcard_at(text: str, offset: int) -> re.Match[str] | None:
    """Return the match of the wildcard that begins at an offset, if any."""
    return WILDCARD.match(text, offset, offset + MAX_NAME_LENGTH)


def _close_choice(choice: _Choice) -> _Item:
    """Return a choice at its closing brace; without a bar or a count it is text in braces."""
    first = choice.options[0][0] if choice.options[0] else ""
    if choice.is_choice and isinstance(first, str) and first.startswith(OTHER_METHODS):
        return _as_text(choice, "}")
    if isinstance(first, str) and first.startswith("~"):
        choice.options[0][0] = first[1:]
    if choice.dollars:
        _read_count(choice)
    return choice if choice.is_choice else _as_text(choice, "}")


def _as_text(choice: _Choice, ending: str) -> _Sequence:
    """Return braces that make no choice as text, with their bars."""
    items: list[_Item] = ["{"]
    for number, option in enumerate(choice.options):
        if number:
            items.append("|")
        items += option
    return _Sequence([*items, ending])


def _read_count(choice: _Choice) -> None:
    """Read `2$$` or `1-3$$ and $$` at the beginning of a choice."""
    first = choice.options[0]
    before, separator_and_rest = first[: choice.dollars[0]], first[choice.dollars[0] + 1 :]
    count = COUNT.fullmatch("".join(item for item in before if isinstance(item, str)))
    if count is None or not all(isinstance(item, str) for item in before):
        return
    low, dash, high, only_high = count.groups()
    choice.low = int(low or 1)
    choice.high = int(only_high or high) if only_high or high else None if dash else choice.low
    choice.is_choice = True
    if len(choice.dollars) == 2:
        end = choice.dollars[1] - choice.dollars[0] - 1
        # The separator is taken as it is written.
        choice.separator = [
            f"__{item.name}__" if isinstance(item, _Wildcard) else item for item in separator_and_rest[:end]
        ]
        separator_and_rest = separator_and_rest[end + 1 :]
    choice.options[0] = separator_and_rest


def _split_weight(option: list[_Item]) -> tuple[float, list[_Item]]:
    """Return an option's weight, `3::` at its beginning, and the rest."""
    for index, item in enumerate(option):
        if item == "":
            continue
        match = WEIGHT.match(item) if isinstance(item, str) else None
        if match is not None and isinstance(item, str):
            return parse_finite(match[1]) or 0.0, [item[match.end() :], *option[index + 1 :]]
        break
    return 1.0, option


def _only_wildcard(option: list[_Item]) -> str | None:
    """Return the name of the wildcard that is all of an option, if it is one."""
    items = [item for item in option if not (isinstance(item, str) and not item.strip())]
    only = items[0] if len(items) == 1 else None
    return only.name if isinstance(only, _Wildcard) else None


def _read_weight(line: str) -> tuple[float, str]:
    """Return the weight of a line, `3::` at its beginning, and its text."""
    match = WEIGHT.match(line)
    return (1.0, line) if match is None else (parse_finite(match[1]) or 0.0, line[match.end() :].strip())
