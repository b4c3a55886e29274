"""Random prompts for the property tests: pieces of every dialect's syntax, and any characters."""

from hypothesis import strategies as st

from promptweight.prompt import DIALECTS

PIECES = [
    *"()[]{}:|\\<>\"'#,.+-=_$ \n\t",
    *("a", "b c", "gato", "ação", "👩‍🚀", "e\u0301", "\u202e", "\x00", "\ud800", "١٢", "½"),
    *("16:9", "1.2", "0.8", ".5", "3", "-1", "1_0", "1e999", "nan", "inf", "25%", "=25%"),
    *("BREAK", "AND", " BREAK ", " AND ", "B", "REAK", "K", "(x:1.5)", "(y)", "[z]", "((", "))"),
    *("[a:b:3]", "[c:0.5]", "[d|e]", "[f::2]", "[1.2:0.8:5]", "[|:]", ":3]", ":0.5]"),
    *(
        "(g:1.2{steps=0.2-0.8})",
        "(h:0.9{steps=0:1.5 0.5:1 1:.2,layers=up+mid,weighting=attention})",
        "{steps=",
        "{layers=up,region=left}",
    ),
    *("(s:=25%)", ":1.2)", ":-.5)", ": -.5 )", " :0.7 ", "<lora:n:0.5>", "<lora:", "embedding:foo", "# c\n"),
    *("\\(", "\\)", "\\:", "\\\\", "\\[", "\\|", "::", "__q__", "2$$", "3::", "{x|y}"),
    *("i++", "(j)1.3", '"k l"+', ".and(", ".blend(1, 2)", '("m","n")', ".swap(o)", ".attend(1.1)"),
    "useLora(p,1)",
    *("{u}", "{{v}}", "1.2::w::", "-1::", ".5::", " ::", "{", "}", "2025::"),
]

DENSE_PIECES = [
    *("[", "[", "]", "(", "(", ")", ")", "|", ":", ":", " ", "a", "b ", "\\", "\n"),
    *(":3]", ":0.5]", ":2]", "(c:1.3)", ":1.2)", "1.2", "0.8", "{layers=u}", "=25%", "[t]", "<lora:n:0.5>"),
    *("B", "REAK", "K", "BREAK", " BREAK ", "AND", " AND "),
    *("[1.2:0.8:5]", "[x|y]", "[p:q:4]", "[r:0.25]", "[s::6]"),
]

any_text = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=24).map("".join),
    st.lists(st.sampled_from(DENSE_PIECES), max_size=18).map("".join),
    st.text(st.characters(exclude_categories=()), max_size=40),
)
"""Any text: syntax in pieces, or any characters, surrogates included."""

edited_text = st.lists(
    st.sampled_from(
        ["a", "b ", "(", ")", "[", "]", "[", "|", ":", ":3]", ":0.5]", "[p:q:2]", "[r|s]", "(c:1.5)", " "]
    ),
    max_size=16,
).map("".join)
"""Text with prompt editing and weights, without keywords, tags or comments."""

dialects = st.sampled_from(DIALECTS)
scheduling_dialects = st.sampled_from(["pw", "a1111"])
