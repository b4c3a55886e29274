"""``expand``: random choices ``{a|b}``, ``{2$$a|b}`` and wildcard files ``__name__``, made with a seed.

This happens before a prompt is parsed, in any dialect. Braces without a bar or ``$$`` are left alone, so
that the options of a weight, ``{steps=0.2-0.8}``, pass through; ``\\{`` and ``\\}`` are braces as text.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from promptweight.errors import SettingError
from promptweight.prompt.literals import finite

MARK = re.compile(r"\\.|\$\$|[{}|]|__(?=[\w.-])", re.DOTALL)
WILDCARD = re.compile(r"__([\w.-](?:[\w./ -]*?[\w.-])??)__")
LONGEST_NAME = 200
COUNT = re.compile(r"\s*+(\d{1,4})(?:\s*+-\s*+(\d{1,4}))?+\s*+")
WEIGHT = re.compile(r"\s*+([0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)::")
DEEPEST_WILDCARD = 16
MOST_CHOICES = 100_000


@dataclass(slots=True)
class Choice:
    """``{low-high$$separator$$a|b}``: options with their weights, each a list of items."""

    place: int
    options: list[list[Item]] = field(default_factory=lambda: [[]])
    low: int = 1
    high: int = 1
    separator: str = ", "
    chosen: bool = False  # whether there was a bar or a count
    dollars: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wildcard:
    """``__name__``: a line of a file."""

    name: str


@dataclass(frozen=True, slots=True)
class Together:
    """Items that stand for themselves: braces that are no choice, with what is in them."""

    items: list[Item]


Item = str | Choice | Wildcard | Together


def expand(text: str, seed: int, wildcards: str | Path | None = None) -> str:
    """Make the random choices in a prompt; the same text, seed and files give the same result anywhere.

    ``{a|b}`` is one of its options, ``{2$$a|b|c}`` two different ones joined by ``, ``, ``{1-3$$ e
    $$a|b|c}`` one to three joined by `` e ``; ``{3::a|b}`` weighs a three times. ``__name__`` is a line of
    ``name.txt`` in the folder ``wildcards`` (``__cores/quentes__`` for a file in a folder in it; ``#``
    begins a comment line), and the line may hold choices again. Without ``wildcards``, ``__name__`` stays.

    Raises SettingError for a wildcard file that is missing, empty, outside the folder, or contains itself.

        >>> expand("um {gato|rato}", seed=1) in ("um gato", "um rato")
        True
    """
    return Expander(random.Random(seed), None if wildcards is None else Path(wildcards)).expand(text)


class Expander:
    """The random numbers and the files of one expansion."""

    def __init__(self, source: random.Random, folder: Path | None) -> None:
        self.source = source
        self.folder = folder
        self.lines: dict[str, list[str]] = {}
        self.choices = 0

    def below(self, count: int) -> int:
        """A whole number from 0 to ``count`` - 1; ``random()`` alone is the same in every Python."""
        return min(int(self.source.random() * count), count - 1)

    def expand(self, text: str) -> str:
        """Read and choose; nesting is held on a stack, so that its depth is free."""
        out: list[str] = []
        stack: list[tuple[Iterator[Item], str | None]] = [(iter(self.read(text)), None)]
        while stack:
            items, _ = stack[-1]
            item = next(items, None)
            if item is None:
                stack.pop()
            elif isinstance(item, str):
                out.append(item)
            elif isinstance(item, Together):
                stack.append((iter(item.items), None))
            elif isinstance(item, Choice):
                stack.append((iter(self.choose(item)), None))
            else:
                names = [name for _, name in stack if name is not None]
                if item.name in names or len(names) >= DEEPEST_WILDCARD:
                    chain = " > ".join([*names, item.name])
                    raise SettingError(
                        f"the wildcard __{item.name}__ contains itself or nests too deeply: {chain}"
                    )
                stack.append((iter(self.read(self.line(item.name))), item.name))
        return "".join(out)

    def choose(self, choice: Choice) -> list[Item]:
        """The items of the options chosen, with separators between."""
        self.choices += 1
        if self.choices > MOST_CHOICES:
            raise SettingError(f"the prompt makes more than {MOST_CHOICES} random choices")
        options = [weighed(option) for option in choice.options]
        count = choice.low + self.below(choice.high - choice.low + 1)
        items: list[Item] = []
        for number in range(min(count, len(options))):
            total = sum(weight for weight, _ in options)
            mark = self.source.random() * total
            index = 0
            while index < len(options) - 1 and mark >= options[index][0]:
                mark -= options[index][0]
                index += 1
            if number:
                items.append(choice.separator)
            items += options.pop(index)[1]
        return items

    def line(self, name: str) -> str:
        """A random line of a wildcard file."""
        if name not in self.lines:
            self.lines[name] = self.read_file(name)
        self.choices += 1
        if self.choices > MOST_CHOICES:
            raise SettingError(f"the prompt makes more than {MOST_CHOICES} random choices")
        return self.lines[name][self.below(len(self.lines[name]))]

    def read_file(self, name: str) -> list[str]:
        """The lines of a wildcard file, without comments."""
        assert self.folder is not None
        folder = self.folder.resolve()
        path = (folder / f"{name}.txt").resolve()
        if not path.is_relative_to(folder):
            raise SettingError(f"the wildcard __{name}__ points outside of {folder}")
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"the wildcard __{name}__ needs the text file {path}: {error}") from error
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        if not lines:
            raise SettingError(f"the wildcard file {path} has no lines to choose from")
        return lines

    def read(self, text: str) -> list[Item]:
        """The text as items: choices nest, whatever is not closed is text."""
        root = Choice(-1)
        open_choices = [root]
        place = 0
        for match in MARK.finditer(text):
            start, mark = match.start(), match[0]
            if start < place:
                continue
            open_choices[-1].options[-1].append(text[place:start])
            place = match.end()
            inner = open_choices[-1]
            if mark == "{":
                open_choices.append(Choice(start))
            elif mark == "|" and inner is not root:
                inner.options.append([])
                inner.chosen = True
            elif mark == "$$" and inner is not root and len(inner.options) == 1 and len(inner.dollars) < 2:
                inner.dollars.append(len(inner.options[0]))
                inner.options[0].append("$$")
            elif mark == "}" and inner is not root:
                open_choices.pop()
                open_choices[-1].options[-1].append(closed(inner))
            elif mark == "__" and self.folder is not None and (name := wildcard_at(text, start)):
                inner.options[-1].append(Wildcard(name))
                place = start + len(name) + 4
            else:
                inner.options[-1].append(mark[1] if mark in ("\\{", "\\}") else mark)
        open_choices[-1].options[-1].append(text[place:])
        while len(open_choices) > 1:
            unclosed = open_choices.pop()
            open_choices[-1].options[-1].append(as_text(unclosed, ""))
        return root.options[0]


def wildcard_at(text: str, place: int) -> str | None:
    """The name of the wildcard that begins here, if one does."""
    match = WILDCARD.match(text, place, place + LONGEST_NAME)
    return None if match is None else match[1]


def closed(choice: Choice) -> Item:
    """A choice whose brace was closed; without a bar or a count it is text in braces."""
    if choice.dollars:
        read_count(choice)
    return choice if choice.chosen else as_text(choice, "}")


def as_text(choice: Choice, ending: str) -> Together:
    """A choice that is none, as text, braces and bars included."""
    items: list[Item] = ["{"]
    for number, option in enumerate(choice.options):
        if number:
            items.append("|")
        items += option
    return Together([*items, ending])


def read_count(choice: Choice) -> None:
    """``2$$`` or ``1-3$$ and $$`` at the beginning of a choice."""
    first = choice.options[0]
    before, separator_and_rest = first[: choice.dollars[0]], first[choice.dollars[0] + 1 :]
    count = COUNT.fullmatch("".join(item for item in before if isinstance(item, str)))
    if count is None or not all(isinstance(item, str) for item in before):
        return
    choice.low = int(count[1])
    choice.high = max(choice.low, int(count[2] or count[1]))
    choice.chosen = True
    if len(choice.dollars) == 2:
        end = choice.dollars[1] - choice.dollars[0] - 1
        separator = separator_and_rest[:end]
        if all(isinstance(item, str) for item in separator):
            choice.separator = "".join(item for item in separator if isinstance(item, str))
            separator_and_rest = separator_and_rest[end + 1 :]
    choice.options[0] = separator_and_rest


def weighed(option: list[Item]) -> tuple[float, list[Item]]:
    """An option's weight, ``3::`` at its beginning, and the rest."""
    for index, item in enumerate(option):
        if item == "":
            continue
        match = WEIGHT.match(item) if isinstance(item, str) else None
        if match is not None and isinstance(item, str):
            return finite(match[1]) or 0.0, [item[match.end() :], *option[index + 1 :]]
        break
    return 1.0, option
