"""Texts for the property tests: syntax of every dialect, torn apart and put together at random."""

from hypothesis import strategies as st

TOKENS = [
    *"()[]{}:|\\<>\"'#,.+-= \n\t",
    "a", "b c", "gato", "ação", "👩‍🚀", "e\u0301", "\u202e", "\x00", "\ud800", "16:9", "1.2", "0.5", "3", "-1", "1e999",
    "nan", "BREAK", "AND", " BREAK ", " AND ", "(x:1.5)", "(y)", "[z]", "((", "))", "[a:b:3]", "[c:0.5]", "[d|e]",
    "[f::2]", "(g:1.2{steps=0.2-0.8})", "(h:0.9{to=1,region=left,mode=logit})", "{steps=", "<lora:n:0.5>",
    "<lora:", "embedding:foo", "\\(", "\\)", "\\:", "# c\n", ":1.2)", ":-.5)", " :0.7 ", "i++", "(j)1.3", '"k l"+',
    ".and(", ".blend(1, 2)", '("m","n")', ".swap(o)", ".attend(1.1)", "useLora(p,1)", "__q__", "2$$", "::",
]  # fmt: skip

prompts = st.one_of(
    st.lists(st.sampled_from(TOKENS), max_size=24).map("".join),
    st.text(st.characters(exclude_categories=()), max_size=40),
)
