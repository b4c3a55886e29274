"""Reading attention maps honestly: beginnings and padding, units, leakage, faithfulness."""
# ruff: noqa: E402

# %% [markdown] lang="pt"
# # Ler mapas de atenção com honestidade
#
# Um mapa de atenção convence fácil: cores quentes em cima do gato, e pronto, "o modelo entendeu *gato*".
# Nem sempre. Este caderno mostra quatro enganos comuns e como conferir cada um. Quem ainda não sabe o que é
# atenção comece por *O que é atenção?*, nesta pasta.
# %% [markdown] lang="en"
# # Reading attention maps honestly
#
# An attention map convinces easily: warm colors on the cat, and there you are, "the model understood
# *cat*". Not always. This notebook shows four common mistakes and how to check each. If you do not know yet
# what attention is, begin with *What is attention?*, in this folder.

# %%
import promptweight

pipe = promptweight.load("mini")

# %%
import numpy as np
import torch

from promptweight.attention import Record
from promptweight.evaluation import look_at
from promptweight.mini import scenes
from promptweight.render import contact_sheet, enlarge, overlay

PROMPT = "um gato vermelho persegue um rato cinza"
SEED, STEPS = 2, 12

# %% [markdown] lang="pt"
# Para julgar mapas é preciso saber a verdade. Então desenhamos nós a cena, e sabemos ponto por ponto onde
# estão o gato e o rato. O modelo vê o desenho através de ruído, com a frase ao lado.
# %% [markdown] lang="en"
# To judge maps you must know the truth. So we draw the scene ourselves, and know point by point where cat
# and mouse are. The model sees the drawing through noise, with the sentence (*a red cat chases a gray
# mouse*) at its side.

# %%
scene = scenes.Scene(
    (scenes.Thing("cat", "red", 4, 20, 24), scenes.Thing("mouse", "gray", 36, 20, 24)), relation="chase"
)
places = {"cat": (0.25, 0.55), "mouse": (0.72, 0.55), "ground": (0.5, 0.9)}
drawn = scenes.to_image(scenes.render(scene)[0])
(cat, mouse), maps = look_at(pipe, scene, PROMPT, record=Record(patches=tuple(places.values())))
ground = ~(cat | mouse)
enlarge(drawn, 256)

# %% [markdown] lang="pt"
# ## 1. Para onde vai a atenção? Muita, para lugar nenhum
#
# Cada retalho da imagem reparte 1 entre os 77 lugares do texto. Mas poucos são palavras: há um começo, um
# fim e muito enchimento. Vejamos três retalhos: no gato, no rato e no fundo.
# %% [markdown] lang="en"
# ## 1. Where does attention go? Much of it, nowhere
#
# Every patch of the picture shares 1 among the 77 places of the text. But few of them are words: there is a
# beginning, an end and much padding. Let us see three patches: on the cat, on the mouse and on the ground.

# %%
print(f"{'':>10}" + "".join(f"{kind:>10}" for kind in ("bos", "text", "eos", "pad")))
for number, name in enumerate(places):
    row = maps.row(number)
    kinds = dict.fromkeys(("bos", "text", "eos", "pad"), 0.0)
    for token, part in row.tokens:
        kinds[token.kind] += part
    print(f"{name:>10}" + "".join(f"{part:10.3f}" for part in kinds.values()))
    assert abs(sum(kinds.values()) - 1) < 1e-5

# %% [markdown] lang="pt"
# Começo, fim e enchimento servem de **ralo**: a softmax obriga a repartir 1, também quando o retalho não
# procura palavra nenhuma. Por isso probabilidades de palavras são pequenas, e por isso mesmo uma palavra
# pode parecer forte só porque as outras são fracas. `maps.beginning()` e `maps.rest()` mostram esse ralo na
# imagem:
# %% [markdown] lang="en"
# Beginning, end and padding serve as a **sink**: the softmax must hand out 1, also when the patch is
# looking for no word. That is why the probabilities of words are small, and why a word may look strong only
# because the others are weak. `maps.beginning()` and `maps.rest()` show the sink on the picture:

# %%
whole = {"bos": maps.beginning(), "words": maps.word(PROMPT), "eos + pad": maps.rest()}
contact_sheet(
    [overlay(drawn, heat, scale=(0, 1), upscale=192) for heat in whole.values()],
    [f"{name}: {heat.mass:.2f}" for name, heat in whole.items()],
    cell=192,
    columns=3,
)

# %% [markdown] lang="pt"
# ## 2. Cada mapa na sua escala: todos parecem quentes
#
# Se cada mapa vai do seu mínimo ao seu máximo, até *um* parece ter encontrado alguma coisa. Em cima, cada
# um na sua escala; embaixo, todos na mesma.
# %% [markdown] lang="en"
# ## 2. Every map on its own scale: all of them look hot
#
# If every map runs from its own lowest to its own highest value, even *um* (a) seems to have found
# something. Above, each on its own scale; below, all on the same.

# %%
words = ("um", "gato", "vermelho", "rato", "cinza")
heats = [maps.word(word) for word in words]
hottest = max(float(heat.tensor.max()) for heat in heats)
own = [overlay(drawn, heat, upscale=144) for heat in heats]
same = [overlay(drawn, heat, scale=(0, hottest), upscale=144) for heat in heats]
contact_sheet([*own, *same], [*words, *words], columns=5, cell=144)

# %% [markdown] lang="pt"
# **Regra:** compare palavras só na mesma escala (`scale=` em `overlay`), ou diga que não comparou.
#
# ## 3. Três unidades, três perguntas
#
# - **probabilidade**: quanto da atenção deste ponto vai para a palavra? De 0 a 1, ralo incluído.
# - **parte** (`share`): do que vai para *palavras*, quanto é desta? As partes somam 1 em cada ponto, mesmo
#   onde nenhuma palavra importa.
# - **realce** (`lift`): quantas vezes a média da imagem? Compara modelos, mas esconde se a palavra tem
#   muito ou pouco.
# %% [markdown] lang="en"
# **Rule:** compare words on the same scale only (`scale=` in `overlay`), or say that you did not compare.
#
# ## 3. Three units, three questions
#
# - **probability**: how much of this point's attention goes to the word? From 0 to 1, the sink included.
# - **share**: of what goes to *words*, how much is this one's? Shares sum to 1 at every point, also where
#   no word matters.
# - **lift**: how many times the picture's mean? It compares models, but hides whether the word has much or
#   little.

# %%
views = {"probability": maps.probability(), "share": maps.share(), "lift": maps.lift()}
print(f"{'vermelho':>12}" + "".join(f"{name:>10}" for name in ("cat", "mouse", "ground")))
for name, view in views.items():
    heat = view.word("vermelho").tensor
    print(f"{name:>12}" + "".join(f"{float(heat[place].mean()):10.3f}" for place in (cat, mouse, ground)))
every_word = [views["share"].word(word.text, word.occurrence).tensor for word in maps.words]
assert torch.allclose(sum(every_word), torch.ones_like(every_word[0]), atol=1e-4)
assert abs(views["lift"].word("vermelho").mass - 1) < 1e-4

contact_sheet(
    [overlay(drawn, view.word("vermelho"), upscale=192, label=name) for name, view in views.items()],
    columns=3,
    cell=192,
)

# %% [markdown] lang="pt"
# ## 4. Vazamento: o calor de uma palavra na coisa de outra
#
# O codificador de texto do CLIP é causal: cada palavra lê o que veio antes, e leva um pouco consigo. *Gato*
# não sabe a sua cor (vem depois); *rato* já leu *gato vermelho*. Assim o mapa de um substantivo sozinho
# pode cair na coisa errada. A tabela diz onde está cada expressão, em múltiplos da sua média:
# %% [markdown] lang="en"
# ## 4. Leakage: the heat of one word on the thing of another
#
# CLIP's text encoder is causal: every word reads what came before, and takes some of it along. *Gato* (cat)
# does not know its color (it comes later); *rato* (mouse) has already read *gato vermelho*. So the map of
# a noun alone may fall on the wrong thing. The table tells where each phrase is, in multiples of its mean:


# %%
def where(maps, phrases):
    """Print, and returns by phrase, the lift on cat, mouse and ground."""
    print(f"{'':>14}" + "".join(f"{name:>8}" for name in ("cat", "mouse", "ground")))
    found = {}
    for phrase in phrases:
        heat = maps.lift().word(phrase).tensor
        found[phrase] = [float(heat[place].mean()) for place in (cat, mouse, ground)]
        print(f"{phrase:>14}" + "".join(f"{part:8.2f}" for part in found[phrase]))
    return found


found = where(maps, ("gato", "vermelho", "gato vermelho", "rato", "cinza", "rato cinza"))
assert found["gato vermelho"][0] > found["gato vermelho"][1]
assert found["rato cinza"][1] > found["rato cinza"][0]

# %% [markdown] lang="pt"
# O mesmo desenho, em inglês, onde o substantivo vem por último e já leu a sua cor:
# %% [markdown] lang="en"
# The same drawing, in English, where the noun comes last and has read its color:

# %%
_, english = look_at(pipe, scene, "a red cat chases a gray mouse")
found = where(english, ("red", "cat", "red cat", "gray", "mouse", "gray mouse"))
assert found["red cat"][0] > found["red cat"][1]
assert found["gray mouse"][1] > found["gray mouse"][0]

# %% [markdown] lang="pt"
# **Regra:** peça o mapa da expressão inteira, e desconfie do mapa de uma palavra só.
#
# ## 5. Um mapa é uma média: de quê?
#
# Camadas grossas veem de longe, finas veem bordas; os primeiros passos acham o lugar, os últimos os
# detalhes. Uma média pode esconder que só uma camada achou o rato.
# %% [markdown] lang="en"
# **Rule:** ask for the map of the whole phrase, and distrust the map of a single word.
#
# ## 5. A map is a mean: of what?
#
# Coarse layers see from afar, fine ones see edges; the first steps find the place, the last ones the
# details. A mean may hide that one layer alone found the mouse.

# %%
result = promptweight.generate(
    PROMPT, pipe, seed=SEED, num_inference_steps=STEPS, record=Record(steps="keep")
)
picture, third = result.images[0], STEPS // 3
grids = dict.fromkeys(slot.grid for slot in result.maps.recording.slots)
parts = {grid: result.maps.layers(grid) for grid in grids}
parts |= {
    f"{first}:{first + third}": result.maps.steps(first, first + third) for first in (0, third, 2 * third)
}
contact_sheet(
    [overlay(picture, view.word("rato cinza"), upscale=144) for view in parts.values()],
    list(parts),
    columns=len(parts),
    cell=144,
    title="rato cinza",
)

# %% [markdown] lang="pt"
# ## 6. Fidelidade: e se tirarmos a palavra?
#
# Atenção diz para onde o modelo *olhou*, não o que o olhar *causou*. A prova é tirar: com peso 0 na atenção a
# palavra deixa de ser vista, e tudo o mais fica igual, semente incluída. Quanto a imagem muda?
#
# Se o calor fosse a causa, quem tem mais atenção mudaria mais. Compare as duas colunas:
# %% [markdown] lang="en"
# ## 6. Faithfulness: what if we take the word out?
#
# Attention tells where the model *looked*, not what the looking *caused*. The proof is to take away: with
# weight 0 in attention the word is no longer seen, and all else stays the same, the seed included. How much
# does the picture change?
#
# If heat were the cause, what has more attention would change more. Compare the two columns:


# %%
def without(phrase, seed=SEED):
    """The same picture, without a phrase."""
    prompt = PROMPT.replace(phrase, f"({phrase}:0)", 1)
    made = promptweight.generate(
        prompt, pipe, seed=seed, num_inference_steps=STEPS, space="attention", record=False
    )
    return made.images[0]


def changed(before, after):
    """How much each pixel's colors changed: (height, width), 0 to 255."""
    return np.abs(np.asarray(before, dtype=float) - np.asarray(after, dtype=float)).mean(-1)


phrases = ("um", "gato", "vermelho", "gato vermelho", "persegue", "rato", "cinza", "rato cinza")
removed = {phrase: without(phrase) for phrase in phrases}
effect = {phrase: float(changed(picture, image).mean()) for phrase, image in removed.items()}
print(f"{'':>14}{'atenção':>10}{'mudança':>10}")  # pt
print(f"{'':>14}{'attention':>10}{'change':>10}")  # en
for phrase in sorted(phrases, key=lambda phrase: -effect[phrase]):
    print(f"{phrase:>14}{result.maps.word(phrase).mass:10.4f}{effect[phrase]:10.2f}")
assert effect["rato cinza"] > effect["um"]
contact_sheet(
    [enlarge(removed[phrase], 128) for phrase in phrases], [f"({p}:0)" for p in phrases], columns=4, cell=128
)

# %% [markdown] lang="pt"
# As duas ordens coincidem? Onde não, o mapa mostra um olhar sem consequência, ou uma consequência sem muito
# olhar: a informação já tinha passado a outras palavras, no codificador de texto.
#
# E o *lugar*, confere? Tiramos *rato cinza* e perguntamos se a mudança caiu onde o mapa é quente. Para não
# nos enganarmos, um **controle**: a mesma máscara empurrada para todos os outros lugares da imagem. Quantas
# acertam mais do que a verdadeira? E não com uma semente só.
# %% [markdown] lang="en"
# Do the two orders agree? Where they do not, the map shows a look without a consequence, or a consequence
# without much of a look: the information had already passed to other words, in the text encoder.
#
# And the *place*, does it hold? We take *rato cinza* out and ask whether the change fell where the map is
# hot. So as not to fool ourselves, a **control**: the same mask pushed to all other places of the picture.
# How many do better than the true one? And not with one seed only.

# %%
better = []
for seed in range(SEED, SEED + 3):
    before = promptweight.generate(PROMPT, pipe, seed=seed, num_inference_steps=STEPS)
    difference = changed(before.images[0], without("rato cinza", seed))
    mask = before.maps.word("rato cinza").mask().numpy()
    shifted = [np.roll(mask, (dy, dx), (0, 1)) for dy in range(0, 64, 8) for dx in range(0, 64, 8)][1:]
    better.append(float(np.mean([difference[other].mean() > difference[mask].mean() for other in shifted])))
    print(f"{seed}: {difference[mask].mean():6.1f} {difference[~mask].mean():6.1f} {better[-1]:6.0%}")
assert np.mean(better) < 0.25

# %% [markdown] lang="pt"
# Colunas: mudança dentro da máscara, fora dela, e quantas máscaras empurradas mudaram mais. Se fosse sorte,
# seria cerca da metade.
#
# ## Antes de mostrar um mapa a alguém
#
# 1. Diga a unidade e a escala; compare palavras só na mesma escala.
# 2. Peça a expressão inteira, não o substantivo sozinho.
# 3. Diga quais camadas e passos entram na média.
# 4. Olhe o ralo: quanto da atenção vai para palavras?
# 5. Tire a palavra e veja se a imagem muda, e onde; com um controle, e com mais de uma semente.
# %% [markdown] lang="en"
# Columns: change inside the mask, outside it, and how many of the pushed masks changed more. By luck it
# would be about half.
#
# ## Before you show a map to anyone
#
# 1. Tell the unit and the scale; compare words on the same scale only.
# 2. Ask for the whole phrase, not for the noun alone.
# 3. Tell which layers and steps are in the mean.
# 4. Look at the sink: how much of the attention goes to words?
# 5. Take the word out and see whether the picture changes, and where; with a control, and with more than
#    one seed.
