"""Plain technical English: a stop list and American spelling for docstrings, comments, messages and pages."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOUNS = "words?|tokens?|phrases?|weights?|tensors?|layers?|heads?|rows?|steps?|settings?|options?"
STOP_LIST = (
    r"heed(s|ed|ing)?",
    r"likest",
    r"(?<!there )(is|are) no (?!longer|more|less)(folder|file|model|number|[a-z]+)",
    r"(told|tell|tells|telling) (\w+ ){0,2}apart",
    r"whose row",
    r"turn by turn",
    r"what (was settled|stands|is settled)",
    r"as they (lie|stand|lay|stood)",
    r"so many",
    r"(where|what|that|if|whatever|which) (\w+ ){0,3}is there(?! (a|an|any|one))",
    r"is (not )?asked",
    r"on the way",
    r"lest|whilst|amongst|thereof|hereby|wherein|thereby|aught|nought|albeit",
    rf"({NOUNS}) (look|looks|looked|heed|heeds|ask|asks|asked|say|says|said|tell|tells|told)",
)
"""Turns of phrase that a reader of technical English has to translate first."""

ISE = (
    "apolog|author|capital|categor|character|custom|emphas|final|general|initial|local|material|max|memor|min|"
    "modern|normal|optim|organ|parametr|penal|polar|prior|quant|random|real|recogn|regular|serial|special|"
    "stabil|standard|summar|symbol|synchron|token|util|vector|visual"
)
BRITISH = (
    r"(?:behavi|col|fav|flav|hon|lab|neighb|rum|harb|vap)our\w*",
    rf"\w*(?:{ISE})(?:im)?is(?:e|ed|er|ers|es|ing|ation|ations)",
    r"analys(?:e|ed|er|es|ing)",
    r"(?:cent|fib|lit|theat)re[ds]?",
    r"(?:cancel|label|level|model|signal|travel|channel|marshal|tunnel)l(?:ed|ing|er|ers)",
    r"(?:artefact|catalogue|cheque|grey|judgement|mould|plough|programme|sceptic)\w*",
    r"licen[c]es?|defences?|offences?|pretences?",
    r"(?:learn|spel|dream|burn)t|towards|fulfil|skilful|enrol|ageing",
)
"""British spellings; the package follows diffusers, which is in American English."""

STOPPED = re.compile(rf"\b(?:{'|'.join(STOP_LIST)})\b", re.IGNORECASE)
SPELLING = re.compile(rf"\b(?:{'|'.join(BRITISH)})\b", re.IGNORECASE)
CLAUSE = re.compile(r"(What|Whose|Who|Where|How|Whether|Which|When) (?!to )", re.IGNORECASE)
"""The beginning of a docstring that is neither a noun phrase nor an imperative."""

PACKAGES = sorted(path.name for path in (ROOT / "promptweight").iterdir() if (path / "__init__.py").exists())
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "Makefile",
    ".ci/run",
    "pyproject.toml",
)


def sources() -> dict[str, list[Path]]:
    """Return the files to check, by the folder or page that a failure names."""
    package = ROOT / "promptweight"
    found = {f"promptweight/{name}": sorted((package / name).rglob("*.py")) for name in PACKAGES}
    found |= {"promptweight": [*sorted(package.glob("*.py")), package / "catalogs" / "en.json"]}
    app = ROOT / "ui" / "promptweight_ui"
    found |= {"ui": sorted(app.rglob("*.py"))}
    found |= {
        "ui/static": sorted((app / "static").rglob("*.js")) + sorted((app / "strings").glob("*en.json"))
    }
    found |= {"examples": sorted((ROOT / "examples").rglob("*.py"))}
    found |= {"docs": sorted((ROOT / "docs").glob("*.md"))}
    return found | {"pages": [ROOT / name for name in PAGES]}


def python_prose(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and text of every comment and string of a Python file, docstrings included.

    The color name and prompt word "grey" of the built-in models is data.
    """
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, re.sub(r"\bgrey\b", "gray", node.value)


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and text of every docstring of a module, class, function or assigned name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
            if isinstance(text, str):
                yield node.lineno, text


def find_faults(path: Path) -> list[str]:
    """Return the faults of a file, each as `path:line: the words`."""
    source = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT).as_posix()
    texts = [*python_prose(source)] if path.suffix == ".py" else [*enumerate(source.splitlines(), 1)]
    faults = []
    for line, text in texts:
        plain = re.sub(r"\s+", " ", text)
        for pattern in (STOPPED, SPELLING):
            faults += [f"{name}:{line}: {match[0]}" for match in pattern.finditer(plain)]
    if path.suffix == ".py":
        faults += [f"{name}:{line}: {text[:40]}…" for line, text in docstrings(source) if CLAUSE.match(text)]
    return faults


@pytest.mark.parametrize("folder", list(sources()))
def test_prose_is_plain_american_english(folder):
    faults = [fault for path in sources()[folder] for fault in find_faults(path)]
    assert not faults, "\n".join(["plain English is needed (see CONTRIBUTING.md, Prose):", *faults])


@pytest.mark.parametrize(
    "text",
    [
        "every token heeds the word",
        "'x' is no folder",
        "rows told apart by text",
        "timed turn by turn",
        "the colour of a neighbour",
        "a normalised map",
        "a recogniser",
        "maximised",
        "modelling",
        "the word looks at it",
    ],
)
def test_the_stop_list_matches_known_faults(text):
    assert STOPPED.search(text) or SPELLING.search(text)


@pytest.mark.parametrize(
    "text",
    [
        "there is no data set",
        "is no longer needed",
        "otherwise",
        "precise",
        "a promise",
        "noise",
        "is not a folder",
    ],
)
def test_the_stop_list_leaves_plain_english_alone(text):
    assert not STOPPED.search(text)
    assert not SPELLING.search(text)
