"""Reading of attention maps: padding, scales, units, leakage, faithfulness (format: see `make.py`)."""
# ruff: noqa: E402

# %% [markdown] lang="pt"
# # Ler mapas de atenção com honestidade
#
# Um mapa de atenção convence com facilidade: com cores quentes em cima do gato, parece que "o modelo entendeu
# *gato*". Nem sempre é verdade. Este caderno mostra erros comuns e como evitar cada um. Se atenção é assunto
# novo para você, comece por *O que é atenção?*, nesta pasta.
# %% [markdown] lang="en"
# # Reading attention maps honestly
#
# An attention map convinces easily: with warm colors on the cat, it seems that "the model understood *cat*".
# This is not always true. This notebook shows common mistakes and how to avoid each. If you are new to
# attention, begin with *What is attention?*, in this folder.

# %%
import promptweight

pipe = promptweight.load("mini")

# %%
import numpy as np
import torch

from promptweight.attention import Record
from promptweight.evaluation import record_scene
from promptweight.mini import scenes
from promptweight.render import contact_sheet, enlarge, overlay

PROMPT = "um gato vermelho persegue um rato cinza"
SEED, STEPS = 2, 12

# %% [markdown] lang="pt"
# Para julgar um mapa é preciso conhecer a resposta certa. Por isso desenhamos a cena: assim as máscaras do
# gato e do rato são conhecidas pixel a pixel. O modelo recebe o desenho com ruído, e a frase.
# %% [markdown] lang="en"
# To judge a map, the right answer must be known. So we draw the scene ourselves: then the masks of cat and
# mouse are known pixel by pixel. The model gets the drawing with noise, and the sentence (*a red cat chases a
# gray mouse*).

# %%
scene = scenes.Scene(
    (scenes.Thing("cat", "red", 4, 20, 24), scenes.Thing("mouse", "gray", 36, 20, 24)), relation="chase"
)
patches = {"cat": (0.25, 0.55), "mouse": (0.72, 0.55), "background": (0.5, 0.9)}
drawn = scenes.to_image(scenes.render(scene, 128)[0])
(cat, mouse), maps = record_scene(pipe, scene, PROMPT, record=Record(patches=tuple(patches.values())))
background = ~(cat | mouse)
enlarge(drawn, 256)

# %% [markdown] lang="pt"
# ## 1. Muita atenção não vai para palavras
#
# Cada patch da imagem divide 1 entre os 77 tokens do texto. Poucos deles são palavras: há um token de início,
# um de fim e muito preenchimento (*padding*). Três patches, no gato, no rato e no fundo:
# %% [markdown] lang="en"
# ## 1. Much attention does not go to words
#
# Every patch of the image divides 1 among the 77 tokens of the text. Few of them are words: there is a
# beginning token, an end token and much padding. Three patches, on the cat, on the mouse and on the
# background:

# %%
print(f"{'':>10}" + "".join(f"{kind:>10}" for kind in ("bos", "text", "eos", "pad")))
for number, name in enumerate(patches):
    row = maps.row(number)
    kinds = dict.fromkeys(("bos", "text", "eos", "pad"), 0.0)
    for token, part in row.tokens:
        kinds[token.kind] += part
    print(f"{name:>10}" + "".join(f"{part:10.3f}" for part in kinds.values()))
    assert abs(sum(kinds.values()) - 1) < 1e-5

# %% [markdown] lang="pt"
# Início, fim e preenchimento são um **sumidouro** de atenção: a softmax distribui sempre 1, também quando
# nenhuma palavra combina com o patch. Por isso as probabilidades das palavras são pequenas, e uma palavra
# pode parecer forte só porque as outras são fracas. `maps.beginning()` e `maps.rest()` mostram o sumidouro na
# imagem:
# %% [markdown] lang="en"
# Beginning, end and padding are an **attention sink**: the softmax always distributes 1, also when no word
# matches the patch. So the probabilities of words are small, and a word may seem strong only because the
# others are weak. `maps.beginning()` and `maps.rest()` show the sink on the image:

# %%
whole = {"bos": maps.beginning(), "words": maps.word(PROMPT), "eos + pad": maps.rest()}
contact_sheet(
    [overlay(drawn, heat, scale=(0, 1), upscale=192) for heat in whole.values()],
    [f"{name}: {heat.mass:.2f}" for name, heat in whole.items()],
    cell=192,
    columns=3,
)

# %% [markdown] lang="pt"
# ## 2. Na sua própria escala, todo mapa parece quente
#
# Se a escala de cada mapa vai do seu mínimo ao seu máximo, até *um* parece ter uma região clara. Em cima,
# cada mapa na sua escala; embaixo, todos na mesma.
# %% [markdown] lang="en"
# ## 2. On its own scale, every map looks hot
#
# If the scale of each map runs from its own lowest to its own highest value, even *um* (a) seems to have a
# clear region. Above, each map on its own scale; below, all on the same.

# %%
words = ("um", "gato", "vermelho", "rato", "cinza")
heats = [maps.word(word) for word in words]
hottest = max(float(heat.tensor.max()) for heat in heats)
own = [overlay(drawn, heat, upscale=144) for heat in heats]
same = [overlay(drawn, heat, scale=(0, hottest), upscale=144) for heat in heats]
contact_sheet([*own, *same], [*words, *words], columns=5, cell=144)

# %% [markdown] lang="pt"
# **Regra:** compare palavras só na mesma escala (`scale=` em `overlay`), ou avise que as escalas são
# diferentes.
#
# ## 3. Três unidades
#
# - **probabilidade**: a parte da atenção do ponto que vai para a palavra. De 0 a 1, com o sumidouro incluído.
# - **parte** (`share`): a parte desta palavra no que vai para *palavras*. As partes somam 1 em cada ponto,
#   mesmo onde nenhuma palavra importa.
# - **realce** (`lift`): múltiplo da média da imagem. Serve para comparar modelos, mas esconde se a palavra
#   recebe muito ou pouco.
# %% [markdown] lang="en"
# **Rule:** compare words on the same scale only (`scale=` in `overlay`), or state that the scales differ.
#
# ## 3. Three units
#
# - **probability**: the part of the point's attention that goes to the word. From 0 to 1, with the sink
#   included.
# - **share**: this word's part of what goes to *words*. Shares sum to 1 at every point, even where no word
#   matters.
# - **lift**: multiple of the image's mean. It compares models, but hides whether the word receives much or
#   little.

# %%
views = {"probability": maps.probability(), "share": maps.share(), "lift": maps.lift()}
print(f"{'vermelho':>12}" + "".join(f"{name:>12}" for name in ("cat", "mouse", "background")))
for name, view in views.items():
    heat = view.word("vermelho").tensor
    print(f"{name:>12}" + "".join(f"{float(heat[place].mean()):12.3f}" for place in (cat, mouse, background)))
every_word = [views["share"].word(word.text, word.occurrence).tensor for word in maps.words]
assert torch.allclose(sum(every_word), torch.ones_like(every_word[0]), atol=1e-4)
assert abs(views["lift"].word("vermelho").mass - 1) < 1e-4

contact_sheet(
    [overlay(drawn, view.word("vermelho"), upscale=192, label=name) for name, view in views.items()],
    columns=3,
    cell=192,
)

# %% [markdown] lang="pt"
# ## 4. Vazamento: o mapa de uma palavra no objeto de outra
#
# O codificador de texto do CLIP é causal: cada palavra recebe informação das anteriores. A chave de *gato*
# não contém a sua cor (que vem depois); a de *rato* contém informação de *gato vermelho*. Assim o mapa de um
# substantivo sozinho pode cair no objeto errado. A tabela mostra o valor médio de cada mapa no gato, no rato
# e no fundo, em múltiplos da média da imagem:
# %% [markdown] lang="en"
# ## 4. Leakage: the map of one word on the object of another
#
# CLIP's text encoder is causal: every word receives information from earlier words. The key of *gato* (cat)
# does not contain its color (which comes later); that of *rato* (mouse) contains information from *gato
# vermelho*. So the map of a noun alone may fall on the wrong object. The table shows the mean value of each
# map on cat, mouse and background, in multiples of the image's mean:


# %%
def mean_lifts(maps, phrases):
    """Print the mean lift of every phrase on cat, mouse and background, and return it by phrase."""
    print(f"{'':>14}" + "".join(f"{name:>12}" for name in ("cat", "mouse", "background")))
    lifts = {}
    for phrase in phrases:
        heat = maps.lift().word(phrase).tensor
        lifts[phrase] = [float(heat[place].mean()) for place in (cat, mouse, background)]
        print(f"{phrase:>14}" + "".join(f"{part:12.2f}" for part in lifts[phrase]))
    return lifts


lifts = mean_lifts(maps, ("gato", "vermelho", "gato vermelho", "rato", "cinza", "rato cinza"))
assert lifts["gato vermelho"][0] > lifts["gato vermelho"][1]
assert lifts["rato cinza"][1] > lifts["rato cinza"][0]

# %% [markdown] lang="pt"
# O mesmo desenho com o prompt em inglês, onde o substantivo vem por último e a sua chave contém a cor:
# %% [markdown] lang="en"
# The same drawing with the prompt in English, where the noun comes last and its key contains the color:

# %%
_, english = record_scene(pipe, scene, "a red cat chases a grey mouse")
lifts = mean_lifts(english, ("red", "cat", "red cat", "grey", "mouse", "grey mouse"))
assert lifts["red cat"][0] > lifts["red cat"][1]
assert lifts["grey mouse"][1] > lifts["grey mouse"][0]

# %% [markdown] lang="pt"
# **Regra:** use o mapa da expressão inteira; o mapa de uma palavra só é menos confiável.
#
# ## 5. Um mapa é uma média
#
# Camadas grossas mostram regiões, finas mostram bordas; os primeiros passos decidem a posição, os últimos os
# detalhes. A média pode esconder que só uma camada localiza o rato.
# %% [markdown] lang="en"
# **Rule:** use the map of the whole phrase; the map of a single word is less reliable.
#
# ## 5. A map is a mean
#
# Coarse layers show regions, fine ones show edges; the first steps decide the position, the last ones the
# details. The mean may hide that only one layer locates the mouse.

# %%
result = promptweight.generate(
    pipe, PROMPT, seed=SEED, num_inference_steps=STEPS, record=Record(steps="keep")
)
image, third = result.images[0], STEPS // 3
grids = dict.fromkeys(slot.grid for slot in result.maps.recording.slots)
parts = {grid: result.maps.layers(grid) for grid in grids}
parts |= {
    f"{first}:{first + third}": result.maps.steps(first, first + third) for first in (0, third, 2 * third)
}
contact_sheet(
    [overlay(image, view.word("rato cinza"), upscale=144) for view in parts.values()],
    list(parts),
    columns=len(parts),
    cell=144,
    title="rato cinza",
)

# %% [markdown] lang="pt"
# ## 6. Fidelidade: o efeito de remover a palavra
#
# Atenção mostra de onde o modelo *recebe*, não o efeito *causado*. O teste é remover: com peso 0 na atenção,
# a palavra não recebe nada, e tudo o mais fica igual, inclusive a semente. Quanto a imagem muda?
#
# Se a atenção fosse a causa, mais atenção significaria mais mudança. Compare as duas colunas:
# %% [markdown] lang="en"
# ## 6. Faithfulness: the effect of removing the word
#
# Attention shows where the model *receives* information from, not the effect that it *causes*. The test is
# removal: with weight 0 in attention the word receives nothing, and everything else stays the same, including
# the seed. How much does the image change?
#
# If attention were the cause, more attention would mean more change. Compare the two columns:


# %%
def without(phrase, seed=SEED):
    """Generate the same image without a phrase."""
    prompt = PROMPT.replace(phrase, f"({phrase}:0)", 1)
    made = promptweight.generate(
        pipe, prompt, seed=seed, num_inference_steps=STEPS, weighting="attention", record=False
    )
    return made.images[0]


def color_change(before, after):
    """Return the change of each pixel's color: (height, width), 0 to 255."""
    return np.abs(np.asarray(before, dtype=float) - np.asarray(after, dtype=float)).mean(-1)


phrases = ("um", "gato", "vermelho", "gato vermelho", "persegue", "rato", "cinza", "rato cinza")
removed = {phrase: without(phrase) for phrase in phrases}
effect = {phrase: float(color_change(image, other).mean()) for phrase, other in removed.items()}
print(f"{'':>14}{'atenção':>10}{'mudança':>10}")  # pt
print(f"{'':>14}{'attention':>10}{'change':>10}")  # en
for phrase in sorted(phrases, key=lambda phrase: -effect[phrase]):
    print(f"{phrase:>14}{result.maps.word(phrase).mass:10.4f}{effect[phrase]:10.2f}")
assert effect["rato cinza"] > effect["um"]
contact_sheet(
    [enlarge(removed[phrase], 128) for phrase in phrases], [f"({p}:0)" for p in phrases], columns=4, cell=128
)

# %% [markdown] lang="pt"
# As duas ordens coincidem? Onde não coincidem, há atenção sem efeito, ou efeito com pouca atenção: a
# informação já tinha passado a outras palavras, no codificador de texto.
#
# A *posição* também precisa ser conferida. Removemos *rato cinza* e verificamos se a mudança está onde o mapa
# é quente. Um **controle** evita conclusões falsas: a mesma máscara deslocada para todas as outras posições
# da imagem. Quantas delas contêm mais mudança do que a verdadeira? Medimos com várias sementes.
# %% [markdown] lang="en"
# Do the two orders agree? Where they do not, there is attention without an effect, or an effect with little
# attention: the information had already passed to other words, in the text encoder.
#
# The *position* must be checked as well. We remove *rato cinza* and test whether the change is where the map
# is hot. A **control** prevents false conclusions: the same mask shifted to all other positions of the image.
# How many of them contain more change than the true one? We measure it with several seeds.

# %%
better = []
for seed in range(SEED, SEED + 3):
    before = promptweight.generate(pipe, PROMPT, seed=seed, num_inference_steps=STEPS)
    difference = color_change(before.images[0], without("rato cinza", seed))
    mask = before.maps.word("rato cinza").mask().numpy()
    shifted = [np.roll(mask, (dy, dx), (0, 1)) for dy in range(0, 128, 16) for dx in range(0, 128, 16)][1:]
    better.append(float(np.mean([difference[other].mean() > difference[mask].mean() for other in shifted])))
    print(f"{seed}: {difference[mask].mean():6.1f} {difference[~mask].mean():6.1f} {better[-1]:6.0%}")
assert np.mean(better) < 0.25

# %% [markdown] lang="pt"
# Colunas: mudança dentro da máscara, fora dela, e a fração das máscaras deslocadas com mais mudança. Por
# acaso seria cerca da metade.
#
# ## Antes de mostrar um mapa
#
# 1. Indique a unidade e a escala; compare palavras só na mesma escala.
# 2. Use a expressão inteira, não o substantivo sozinho.
# 3. Indique quais camadas e passos entram na média.
# 4. Confira o sumidouro: quanto da atenção vai para palavras?
# 5. Remova a palavra e meça se a imagem muda, e onde; com um controle, e com mais de uma semente.
# %% [markdown] lang="en"
# Columns: change inside the mask, outside it, and the fraction of the shifted masks with more change. By
# chance it would be about half.
#
# ## Before you show a map
#
# 1. State the unit and the scale; compare words on the same scale only.
# 2. Use the whole phrase, not the noun alone.
# 3. State which layers and steps are in the mean.
# 4. Check the sink: how much of the attention goes to words?
# 5. Remove the word and measure whether the image changes, and where; with a control, and with more than one
#    seed.
