"""Diagnostics of the prompt parsers: their codes, severities and messages in English and Portuguese."""

from __future__ import annotations

from promptweight.prompt.model import Diagnostic

MAX_DIAGNOSTICS = 200
"""A megabyte of stray brackets would give a megabyte of warnings; the rest is counted instead."""

JOINED_CODES = ("stray-closer", "unclosed-group", "empty-group", "novelai-stray", "novelai-closed")

# code: (severity, English, Portuguese)
MESSAGES: dict[str, tuple[str, str, str]] = {
    "unclosed-group": (
        "warning",
        "“{bracket}” is never closed; it is taken to end with the text",
        "“{bracket}” nunca é fechado; o grupo vai até o fim do texto",
    ),
    "unclosed-text": (
        "warning",
        "“{bracket}” is never closed; it is read as text",
        "“{bracket}” nunca é fechado; foi lido como texto",
    ),
    "stray-closer": (
        "warning",
        "“{bracket}” closes nothing; it is read as text",
        "“{bracket}” não fecha nada; foi lido como texto",
    ),
    "stray-disables": (
        "warning",
        "after this stray “)” the next “(” is read as text, so its weight is lost",
        "depois deste “)” sobrando, o próximo “(” é lido como texto e o peso se perde",
    ),
    "weight-unreadable": (
        "warning",
        "“{value}” is not a weight (a finite number such as 1.2); it is read as text",
        "“{value}” não é um peso (um número finito como 1.2); foi lido como texto",
    ),
    "weight-ratio": (
        "warning",
        "“{value}” is read as the weight {weight:g}; to keep it as text write “{escaped}”",
        "“{value}” foi lido como o peso {weight:g}; para manter como texto, escreva “{escaped}”",
    ),
    "weight-ratio-fixed": (
        "warning",
        "“{value}” is read as the weight {weight:g}, as this dialect always does",
        "“{value}” foi lido como o peso {weight:g}, como este dialeto sempre faz",
    ),
    "weight-unbracketed": (
        "warning",
        "“{value}” is text here; the weight of a word needs brackets of its own, as in “({meant})”",
        "“{value}” é texto aqui; o peso de uma palavra precisa de parênteses próprios, como em “({meant})”",
    ),
    "weight-emoticon": (
        "warning",
        "“{value}” is read as the weight of the group; to keep it as text, write “\\{meant}”",
        "“{value}” foi lido como o peso do grupo; para manter como texto, escreva “\\{meant}”",
    ),
    "weight-full-width": (
        "warning",
        "full-width brackets and colons are text; as a weight, write “{meant}” in place of “{value}”",
        "parênteses e dois-pontos largos são texto; como peso, escreva “{meant}” em vez de “{value}”",
    ),
    "weight-square": (
        "warning",
        "“{value}” adds its text after a step; as a weight, write “{meant}”",
        "“{value}” acrescenta o texto depois de um passo; como peso, escreva “{meant}”",
    ),
    "weight-novelai": (
        "warning",
        "“{value}” is a weight of NovelAI and text here; write “{meant}”, or use the dialect novelai",
        "“{value}” é um peso do NovelAI e aqui é texto; escreva “{meant}” ou use o dialeto novelai",
    ),
    "novelai-stray": (
        "warning",
        "“{bracket}” closes nothing; in NovelAI it changes the weight of all the text after it",
        "“{bracket}” não fecha nada; no NovelAI, muda o peso de todo o texto depois dele",
    ),
    "novelai-closed": (
        "info",
        "the group of this “{bracket}” was closed by the “::” before it",
        "o grupo deste “{bracket}” já foi fechado pelo “::” antes dele",
    ),
    "novelai-colons": (
        "info",
        "“::” closes nothing here; it is left out",
        "“::” não fecha nada aqui; foi deixado de fora",
    ),
    "novelai-digit": (
        "warning",
        "“{value}” is read as the end of the weight; NovelAI needs a space between a digit and “::”",
        "“{value}” foi lido como o fim do peso; o NovelAI precisa de um espaço entre um algarismo e “::”",
    ),
    "novelai-round": (
        "warning",
        "“{value}” is text in NovelAI; as a weight, write “{meant}”",
        "“{value}” é texto no NovelAI; como peso, escreva “{meant}”",
    ),
    "novelai-bar": (
        "info",
        "“|” separates characters or mixed prompts in NovelAI; it is read as text here",
        "“|” separa personagens ou prompts misturados no NovelAI; aqui foi lido como texto",
    ),
    "weight-signs": (
        "warning",
        "“{value}” is text here; as a weight, write “{meant}”",
        "“{value}” é texto aqui; como peso, escreva “{meant}”",
    ),
    "tag-loose": (
        "warning",
        "a tag has no spaces around its kind; “{value}” is read as text; write “{meant}”",
        "uma marcação não tem espaços em volta do tipo; “{value}” foi lido como texto; escreva “{meant}”",
    ),
    "tag-comfy": (
        "warning",
        "ComfyUI has no tags, so “{value}” is text; convert the prompt to pw to load the network",
        "o ComfyUI não tem marcações, e “{value}” é texto; converta o prompt para pw para carregar a rede",
    ),
    "invisible": (
        "warning",
        "the invisible character {value} ({name}) is part of the text; delete it",
        "o caractere invisível {value} ({name}) faz parte do texto; apague-o",
    ),
    "pasted-infotext": (
        "warning",
        "“{value}” begins the settings text of an image, which is words here; keep the prompt only",
        "“{value}” começa o texto de parâmetros de uma imagem, que aqui são palavras; deixe só o prompt",
    ),
    "pasted-json": (
        "warning",
        "this is JSON, which is encoded as words here; keep the prompt only",
        "isto é JSON, que aqui é lido como palavras; deixe só o prompt",
    ),
    "pasted-entity": (
        "warning",
        "“{value}” is HTML for “{meant}” and text here",
        "“{value}” é HTML para “{meant}” e aqui é texto",
    ),
    "pasted-escape": (
        "warning",
        "“{value}” is a backslash and a bracket that weighs; for a bracket as text, write “{meant}”",
        "“{value}” é uma barra e um parêntese de peso; para um parêntese como texto, escreva “{meant}”",
    ),
    "pasted-midjourney": (
        "warning",
        "“{value}” is an option of Midjourney and text here",
        "“{value}” é uma opção do Midjourney e aqui é texto",
    ),
    "template-choice": (
        "warning",
        "“{value}” is text here; promptweight batch makes such random choices",
        "“{value}” é texto aqui; quem sorteia essas opções é o promptweight batch",
    ),
    "template-file": (
        "warning",
        "“{value}” is text here; promptweight batch with --wildcards FOLDER draws a line of such a file",
        "“{value}” é texto aqui; promptweight batch com --wildcards PASTA sorteia uma linha desse arquivo",
    ),
    "template-unknown": (
        "warning",
        "“{value}” is text here: variables, parameters and choices in turn of dynamic prompts have no effect",
        "“{value}” é texto aqui: variáveis, parâmetros e escolhas em sequência de dynamic prompts não agem",
    ),
    "and-keyword": (
        "warning",
        "“{value}” of another tool is read as text; “AND” joins prompts here",
        "“{value}” de outra ferramenta foi lido como texto; aqui, “AND” une prompts",
    ),
    "weight-large": (
        "warning",
        "the weight {weight:g} is far from 1; weights beyond 2 usually spoil the image",
        "o peso {weight:g} está longe de 1; pesos acima de 2 costumam estragar a imagem",
    ),
    "weight-overflow": (
        "warning",
        "the weights here multiply to more than {limit:g}, which is used instead",
        "os pesos aqui, multiplicados, passam de {limit:g}; esse valor é usado no lugar",
    ),
    "empty-group": ("info", "this group has no text", "este grupo não tem texto"),
    "crossed-groups": (
        "warning",
        "“{bracket}” closes a group that was opened before another one still open",
        "“{bracket}” fecha um grupo aberto antes de outro que continua aberto",
    ),
    "break-in-group": (
        "info",
        "BREAK inside a group: the chunk breaks here (A1111 would encode the word “break” instead)",
        "BREAK dentro de um grupo: o bloco quebra aqui (o A1111 codificaria a palavra “break”)",
    ),
    "and-in-group": (
        "warning",
        "AND inside a group joins nothing; it is read as text",
        "AND dentro de um grupo não une nada; foi lido como texto",
    ),
    "part-weight": (
        "warning",
        "A1111 reads “{value}” at the end of a prompt as the weight of the whole; it is kept as text here",
        "o A1111 lê “{value}” no fim do prompt como o peso do todo; aqui foi mantido como texto",
    ),
    "part-percent": (
        "warning",
        "A1111 reads “{value}” as text; as the weight of this part, write “:{weight:g}”",
        "o A1111 lê “{value}” como texto; para dar esse peso à parte, escreva “:{weight:g}”",
    ),
    "backslash-dropped": (
        "info",
        "this backslash escapes nothing and is dropped, as A1111 does",
        "esta barra invertida não escapa nada e é descartada, como faz o A1111",
    ),
    "option-unknown": (
        "warning",
        "“{name}” is not an option; the options are {options}",
        "“{name}” não é uma opção; as opções são {options}",
    ),
    "option-value": (
        "warning",
        "“{value}” is not valid for {name}; valid is {valid}",
        "“{value}” não é válido para {name}; é válido: {valid}",
    ),
    "share-unreadable": (
        "warning",
        "“{value}” is not a share of the image (between 0% and 100%, such as 25%); it is read as text",
        "“{value}” não é uma parte da imagem (entre 0% e 100%, como 25%); foi lido como texto",
    ),
    "option-repeated": (
        "warning",
        "the option {name} is given twice; the first counts",
        "a opção {name} aparece duas vezes; vale a primeira",
    ),
    "scheduled": (
        "info",
        "the text changes during sampling; this is the text of the first step",
        "o texto muda durante a geração; aqui aparece o do primeiro passo",
    ),
    "edit-without-step": (
        "warning",
        "“{value}” is not a step, so this is not prompt editing; it is read as [x], weight 1/1.1",
        "“{value}” não é um passo, então isto não é edição de prompt; foi lido como [x], peso 1/1,1",
    ),
    "edit-refused": (
        "warning",
        "A1111 reads no prompt editing in a prompt that has {reason} here",
        "o A1111 não lê edição de prompt quando há {reason} aqui",
    ),
    "bar-outside": (
        "info",
        "“|” separates nothing here; it is read as text ({{a|b}} is chosen by expand, [a|b] alternates)",
        "“|” não separa nada aqui; foi lido como texto ({{a|b}} é sorteado por expand, [a|b] alterna)",
    ),
    "tag-weight": (
        "warning",
        "“{value}” is not a weight; {name} gets {weight:g}",
        "“{value}” não é um peso; {name} fica com {weight:g}",
    ),
    "tag-option": (
        "warning",
        "“{value}” of {name} is not followed; a tag has the weights te (text encoders) and unet (denoiser)",
        "“{value}” de {name} não é seguido; uma marcação tem os pesos te (codificadores de texto) e unet",
    ),
    "tag-text-steps": (
        "warning",
        "“{value}”: text is encoded once, so {name} has the weight of the first step there",
        "“{value}”: o texto é codificado uma vez só, então ali {name} fica com o peso do primeiro passo",
    ),
    "tag-unknown": (
        "warning",
        "“{name}” is not a kind of network that can be loaded; the tag is left out",
        "“{name}” não é um tipo de rede que se possa carregar; a marcação foi deixada de fora",
    ),
    "comment": ("info", "a comment, left out", "um comentário, deixado de fora"),
    "quote-unclosed": (
        "warning",
        "this quotation mark is never closed; it is read as text",
        "estas aspas nunca são fechadas; foram lidas como texto",
    ),
    "operator-counts": (
        "warning",
        "{name} has {parts} prompts and {weights} weights; missing weights are 1",
        "{name} tem {parts} prompts e {weights} pesos; os que faltam valem 1",
    ),
    "operator-rest": (
        "warning",
        "compel drops or refuses what follows {name}; it is kept here as one more part",
        "o compel descarta ou recusa o que vem depois de {name}; aqui fica como mais uma parte",
    ),
    "lost-schedule": (
        "warning",
        "the dialect has no prompt editing; the text of the first step is kept",
        "o dialeto não tem edição de prompt; fica o texto do primeiro passo",
    ),
    "lost-options": (
        "warning",
        "the options “{options}” cannot be expressed in this dialect",
        "as opções “{options}” não podem ser expressas neste dialeto",
    ),
    "lost-hash": (
        "warning",
        "“#” begins a comment in A1111; it is left out",
        "“#” começa um comentário no A1111; foi deixado de fora",
    ),
    "lost-tag": (
        "warning",
        "the network “{name}” cannot be named in this dialect",
        "a rede “{name}” não pode ser citada neste dialeto",
    ),
    "lost-tag-weights": (
        "warning",
        "the dialect has one weight for a network; {name} keeps {weight:g} in all steps and models",
        "o dialeto tem um só peso por rede; {name} fica com {weight:g} em todos os passos e modelos",
    ),
    "lost-parts": (
        "warning",
        "the dialect has no AND; the parts follow one another",
        "o dialeto não tem AND; as partes ficam uma depois da outra",
    ),
    "lost-break": (
        "warning",
        "the dialect has no BREAK; the text runs on",
        "o dialeto não tem BREAK; o texto continua",
    ),
    "lost-blend": (
        "warning",
        "the dialect has no blend; the prompts are joined by AND",
        "o dialeto não tem blend; os prompts são unidos por AND",
    ),
    "lost-swap": (
        "warning",
        "the dialect has no swap; the original words are kept",
        "o dialeto não tem swap; ficam as palavras originais",
    ),
    "lost-embedding": (
        "warning",
        "the textual inversion “{name}” cannot be named in this dialect; its name is kept as text",
        "a inversão textual “{name}” não pode ser citada neste dialeto; o nome fica como texto",
    ),
    "lost-marks": (
        "warning",
        "NovelAI has no escape for {marks}; they are left out",
        "o NovelAI não tem escape para {marks}; foram deixados de fora",
    ),
    "lost-negative": (
        "warning",
        "compel has no negative weights; {weight:g} becomes 0",
        "o compel não tem pesos negativos; {weight:g} vira 0",
    ),
    "lost-signs": (
        "warning",
        "a sign that compel reads as an operator is escaped; the backslash stays in its text",
        "um sinal que o compel lê como operador foi escapado; a barra invertida fica no texto",
    ),
    "lost-weight": (
        "warning",
        "the weight {weight:g} cannot be expressed in plain text",
        "o peso {weight:g} não pode ser expresso em texto simples",
    ),
    "and-differs": (
        "warning",
        "AND adds the predictions of the parts, .and() joins their encodings",
        "AND soma as previsões das partes, .and() junta as codificações",
    ),
    "text-differs": (
        "warning",
        "the rewritten prompt does not have exactly the same meaning",
        "o prompt reescrito não tem exatamente o mesmo significado",
    ),
    "more": ("info", "and {count} more remarks", "e mais {count} observações"),
}


class Remarks:
    """Remarks on a source, collected while it is parsed, up to `MAX_DIAGNOSTICS`."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, str, dict[str, object]]] = []
        self.left_out = 0

    def copy(self) -> Remarks:
        """Return a copy that can get more remarks."""
        copied = Remarks()
        copied.entries, copied.left_out = list(self.entries), self.left_out
        return copied

    def extend(self, other: Remarks) -> None:
        """Add the remarks of another collection."""
        for start, end, code, values in other.entries:
            self.add(code, start, end, **values)
        self.left_out += other.left_out

    def wants_more(self) -> bool:
        """Return whether another remark would be kept; count it as left out otherwise."""
        if len(self.entries) < MAX_DIAGNOSTICS:
            return True
        self.left_out += 1
        return False

    def add(self, code: str, start: int, end: int, **values: object) -> None:
        """Remark on source[start:end]; join it to an equal remark that ends at `start`."""
        if self.entries and code in JOINED_CODES and self.entries[-1][1:3] == (start, code):
            first, _, _, earlier = self.entries.pop()
            self.entries.append((first, end, code, earlier))
        elif self.wants_more():
            self.entries.append((start, end, code, values))

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Return the diagnostics in the order of their offsets."""
        if not self.entries:
            return ()
        found = sorted(self.entries, key=lambda remark: remark[:2])
        if self.left_out:
            end = found[-1][1]
            found.append((end, end, "more", {"count": self.left_out}))
        return tuple(_make_diagnostic(*remark) for remark in found)


def _make_diagnostic(start: int, end: int, code: str, values: dict[str, object]) -> Diagnostic:
    """Return a remark with its messages."""
    severity, english, portuguese = MESSAGES[code]
    return Diagnostic(code, severity, english.format(**values), portuguese.format(**values), start, end)
