"""Texts that ComfyUI's nodes output: literals, joined and replaced texts, filled wildcards, styles, switches.

A node whose output cannot be computed from the file, such as a language model or a style that is in another
file, raises `UnknownValueError`, so that no prompt is half of what the image was made with.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from promptweight.metadata.comfyui_graph import (
    Graph,
    Link,
    Memo,
    Node,
    Step,
    UnknownValueError,
    as_link,
    choose_branch,
    is_pass_through,
    numbered_inputs,
    read_literal,
)

TEXT_INPUTS = (
    "text", "prompt", "t5xxl", "text_g", "clip_g", "text_l", "clip_l", "string", "value", "text_positive",
    "wildcard_text", "user_prompt", "positive", "content", "input", "String", "Text",
)  # fmt: skip
"""Inputs that hold the text of a node, the most important first."""

ROLES = ("positive", "negative")
_DELIMITERS = ("delimiter", "separator", "sep", "delim", "joiner")
_DELIMITER_WORDS = {"none": "", "space": " ", "newline": "\n"}
_JOINING = ("concat", "join", "combine", "merge", "append")
_OPAQUE_KINDS = re.compile(
    r"wildcard|random|dynamic|llm|ollama|gpt|gemini|florence|caption|tagger|interrogat|translat|generat|enhanc|"
    r"magic|load|file|csv|list|chat|vision|expansion|batch|style|preset|regex|replac|split|slice|artist|mixer",
    re.IGNORECASE,
)
"""Classes of nodes whose output is not their input, unless they are known."""
_WILDCARDS = re.compile(r"__[^\s_][^\n]*?__|\{[^{}|]*\|[^{}]*\}|%[A-Za-z_]+\.[A-Za-z_]+%")
_MAX_COMPUTED = 10_000_000
"""Number of characters that are computed for one sampler; a few nodes can double a text without end."""
_NO_STYLES = ("", "base", "none", "no style", "no_style", "-", "false", "default (no style)")


class TextReader:
    """Evaluation of the texts of a graph, each output once.

    Attributes:
        graph: the graph.
        assumed: classes of nodes that are not known, whose only text was taken for their output.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.assumed: dict[str, None] = {}
        self._memo = Memo()
        self._computed = 0

    def compute(self, node: Node, length: int, text: Callable[[], str]) -> str:
        """Return a computed text of about `length` characters.

        Raises:
            UnknownValueError: the texts of the graph are too long.
        """
        self._computed += length
        if self._computed > _MAX_COMPUTED:
            raise UnknownValueError(node)
        return text()

    def read(self, value: object, role: str = "positive") -> Step:
        """Return the text of an input: a literal, or what the node of a link outputs.

        Args:
            value: the value of the input.
            role: `positive` or `negative`, for nodes with both and a single output.
        """
        if isinstance(value, str):
            return value
        if isinstance(value, (int, float)):
            return str(value)
        link = as_link(value)
        node = self.graph.nodes.get(link.node) if link else None
        if link is None or node is None:
            raise UnknownValueError(None)
        return (yield self._memo.run((link, role), node, lambda: self._read_output(node, link, role)))

    def _read_output(self, node: Node, link: Link, role: str) -> Step:
        inputs = node.inputs
        if isinstance(inputs.get("populated_text"), str) and inputs["populated_text"].strip():
            return inputs["populated_text"]
        if (operation := _OPERATIONS.get(node.kind)) is not None:
            return (yield operation(self, node, role))
        if "style" in node.kind.casefold() and {"text_positive", "text_negative"} & inputs.keys():
            return (yield self._read_styled(node, link))
        if (branch := choose_branch(self.graph, node)) is not None:
            return (yield self.read(inputs[branch], role))
        if set(ROLES) <= inputs.keys() and link.slot < 2:
            return (yield self.read(inputs[ROLES[link.slot]], role))
        if any(word in node.kind.casefold() for word in _JOINING):
            return (yield self._join(node, role))
        links = node.links()
        if is_pass_through(node) and links:
            return (yield self.read([*links.get("text", next(iter(links.values())))], role))
        return (yield self._read_only_text(node, role))

    def _read_only_text(self, node: Node, role: str) -> Step:
        """Return the text of a node that holds one text or has one link, and nothing that could change it."""
        is_known = node.kind.casefold() in _LITERAL_KINDS or is_pass_through(node)
        if not is_known and _OPAQUE_KINDS.search(node.kind):
            raise UnknownValueError(node)
        links = node.links()
        texts = [name for name, value in node.inputs.items() if isinstance(value, str) and value.strip()]
        name = next((name for name in TEXT_INPUTS if name in links or name in texts), None)
        value: object = None
        if name is not None and (is_known or len(links) + (len(texts) if name in texts else 0) == 1):
            value = node.inputs[name]
        elif len(set(links.values())) == 1 and not texts:
            value = [*next(iter(links.values()))]
        elif not links and not texts:
            values = [each for each in node.inputs.values() if isinstance(each, (str, int, float))]
            value = values[0] if len(values) == 1 or (values and is_known) else None
        if value is None:
            raise UnknownValueError(node)
        text = yield self.read(value, role)
        if not is_known:
            if isinstance(value, str) and _WILDCARDS.search(text):
                raise UnknownValueError(node)
            if node.kind:
                self.assumed[node.kind] = None
        return text

    def _read_styled(self, node: Node, link: Link) -> Step:
        """Return the text of a node without a style; the text of a style is not in the image."""
        styles = [
            value
            for name, value in node.inputs.items()
            if "style" in str(name).casefold() and isinstance(value, str) and "log" not in str(name)
        ]
        if any(style.strip().casefold() not in _NO_STYLES for style in styles):
            raise UnknownValueError(node)
        name = "text_negative" if link.slot == 1 else "text_positive"
        return (yield self.read(node.inputs.get(name, ""), "negative" if link.slot == 1 else "positive"))

    def _join(self, node: Node, role: str) -> Step:
        """Return the texts of a node joined in the order of their numbers or letters."""
        delimiter_name = next((name for name in _DELIMITERS if name in node.inputs), None)
        delimiter = ""
        if delimiter_name is not None:
            delimiter = str((yield self.read(node.inputs[delimiter_name], role)))
            delimiter = _DELIMITER_WORDS.get(delimiter, delimiter).replace("\\n", "\n").replace("\\t", "\t")
            if delimiter.isalpha() and delimiter.islower():  # the name of a delimiter that is not known
                raise UnknownValueError(node)
        names = [name for _, name in numbered_inputs(node, but=delimiter_name)]
        names = names or [name for name in ("text_a", "text_b", "prompt1", "prompt2") if name in node.inputs]
        if len(names) < 1 or not all(_is_text(node.inputs[name]) for name in names):
            raise UnknownValueError(node)
        texts = []
        for name in names:
            value = node.inputs[name]
            texts.append("" if value is None else (yield self.read(value, role)))
        cleans = str(node.inputs.get("clean_whitespace", "false")).casefold() == "true"
        if cleans:
            texts = [text.strip() for text in texts]
        if node.kind not in _JOINING_EMPTY:
            texts = [text for text in texts if text]
        length = sum(map(len, texts)) + len(delimiter) * len(texts)
        return self.compute(node, length, lambda: delimiter.join(texts))


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str) or as_link(value) is not None


def _replace(reader: TextReader, node: Node, role: str) -> Step:
    text = yield reader.read(node.inputs.get("string", node.inputs.get("text")), role)
    old = yield reader.read(node.inputs.get("find", ""), role)
    new = yield reader.read(node.inputs.get("replace", ""), role)
    return _replace_all(reader, node, text, old, new)


def _replace_all(reader: TextReader, node: Node, text: str, old: str, new: str) -> str:
    if not old:
        return text
    length = len(text) + text.count(old) * len(new)
    return reader.compute(node, length, lambda: text.replace(old, new))


def _trim(reader: TextReader, node: Node, role: str) -> Step:
    text = yield reader.read(node.inputs.get("string"), role)
    mode = str(node.inputs.get("mode", "Both")).casefold()
    return {"left": text.lstrip(), "right": text.rstrip()}.get(mode, text.strip())


def _change_case(reader: TextReader, node: Node, role: str) -> Step:
    text = yield reader.read(node.inputs.get("string"), role)
    mode = str(node.inputs.get("mode", "")).casefold()
    cases: dict[str, Callable[[], str]] = {
        "uppercase": text.upper, "lowercase": text.lower, "capitalize": text.capitalize,
        "title case": text.title,
    }  # fmt: skip
    if mode not in cases:
        raise UnknownValueError(node)
    return cases[mode]()


def _cut(reader: TextReader, node: Node, role: str) -> Step:
    text = yield reader.read(node.inputs.get("string"), role)
    start, end = (read_literal(reader.graph, node.inputs.get(name)) for name in ("start", "end"))
    if not isinstance(start, int) or not isinstance(end, int):
        raise UnknownValueError(node)
    return text[start:end]


def _string_function(reader: TextReader, node: Node, role: str) -> Step:
    """Evaluate StringFunction of ComfyUI-Custom-Scripts: append or replace, with tidy tags."""
    first, second, third = (node.inputs.get(name) or "" for name in ("text_a", "text_b", "text_c"))
    texts = [
        (yield reader.read(first, role)),
        (yield reader.read(second, role)),
        (yield reader.read(third, role)),
    ]
    tidy = node.inputs.get("tidy_tags") == "yes"
    if node.inputs.get("action") == "replace":
        if texts[1].startswith("/"):  # a regular expression of anyone is not run
            raise UnknownValueError(node)
        text = _replace_all(reader, node, texts[0], texts[1], texts[2])
    else:
        between = ", " if tidy else ""
        text = reader.compute(node, sum(map(len, texts)), lambda: between.join(filter(None, texts)))
    if tidy:
        text = re.sub(r"\s{2,}", " ", text)
        text = text.replace(" ,", ",")
        text = re.sub(r",{2,}", ",", text).strip()
    return text


_OPERATIONS: dict[str, Callable[[TextReader, Node, str], Step]] = {
    "StringReplace": _replace,
    "StringTrim": _trim,
    "CaseConverter": _change_case,
    "StringSubstring": _cut,
    "StringFunction|pysssss": _string_function,
}
_JOINING_EMPTY = ("StringConcatenate", "CR Text Concatenate", "JoinStrings", "JoinStringMulti")
"""Nodes that join empty texts too, with their delimiters."""
_LITERAL_KINDS = frozenset(
    (
        "cliptextencode", "cr multiline text", "cr prompt text", "cr text", "easy negative", "easy positive",
        "easy string", "jwstring", "jwstringmultiline", "primitive string [crystools]",
        "primitive string multiline [crystools]", "primitivenode", "primitivestring",
        "primitivestringmultiline", "prompt string", "simpletext", "string", "string literal",
        "string literal (image saver)", "stringconstant", "stringconstantmultiline", "text", "text box",
        "text multiline", "text multiline (code compatible)", "text string", "textbox", "ttn text",
    )
)  # fmt: skip
"""Classes of nodes, in lower case, that output their text as it is, even with the syntax of wildcards."""
