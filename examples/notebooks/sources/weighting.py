"""Comparison of weightings on one seed, in the embeddings and in attention (format: see `make.py`)."""
# ruff: noqa: E402, E501

# %% [markdown] lang="pt"
# # Qual ponderação usar?
#
# `(palavra:1.2)` pede "mais disto". Há muitas fórmulas para aplicar esse peso, e o mesmo número dá imagens
# diferentes. Este caderno as compara com a mesma semente e a mesma frase, no modelo pequeno que vem com o
# promptweight.
#
# Um peso pode agir em dois lugares:
#
# - nos **embeddings**: muda os vetores da palavra antes da geração (como AUTOMATIC1111, ComfyUI e compel);
# - na **atenção**: muda quanta atenção a palavra recebe de cada ponto da imagem, em todas as camadas e
#   passos.
# %% [markdown] lang="en"
# # Which weighting should I use?
#
# `(word:1.2)` means "more of this". Many formulas can apply the weight, and the same number gives different
# images. This notebook compares them with the same seed and the same sentence, on the small model that comes
# with promptweight.
#
# A weight can act in two places:
#
# - in the **embeddings**: it changes the word's vectors before generation (as AUTOMATIC1111, ComfyUI and
#   compel do);
# - in **attention**: it changes how much attention the word receives from every point of the image, in every
#   layer and step.

# %%
import promptweight

pipe = promptweight.load("mini")

# %%
import numpy as np
import torch

from promptweight.render import contact_sheet, enlarge, overlay
from promptweight.weighting import WEIGHTING_DESCRIPTIONS

SEED, STEPS = 2, 12


def make(weight, **settings):
    """Generate the same image with another weight on the mouse, or with another weighting."""
    return promptweight.generate(
        pipe,
        f"um gato vermelho persegue um (rato cinza:{weight})",
        seed=SEED,
        num_inference_steps=STEPS,
        **{"record": False} | settings,
    )


plain = promptweight.generate(
    pipe, "um gato vermelho persegue um rato cinza", seed=SEED, num_inference_steps=STEPS
)
unweighted = plain.images[0]
mouse = plain.maps.word("rato cinza")
contact_sheet(
    [enlarge(unweighted, 224), overlay(unweighted, mouse, upscale=224)], ["", "rato cinza"], cell=224
)

# %% [markdown] lang="pt"
# ## As ponderações
# %% [markdown] lang="en"
# ## The weightings

# %%
weightings = [name for name in WEIGHTING_DESCRIPTIONS if name != "none"]
for name, description in WEIGHTING_DESCRIPTIONS.items():
    print(f"{name:>14}  {description}")

# %% [markdown] lang="pt"
# ## Peso 1 não muda nada
#
# Com peso 1, uma ponderação não deve mudar nada. Todas passam, bit a bit:
# %% [markdown] lang="en"
# ## Weight 1 changes nothing
#
# With weight 1, a weighting must not change anything. All of them pass, bit for bit:

# %%
for name in ("a1111", "compel", "comfy++", "attention"):
    assert make(1, weighting=name).images[0].tobytes() == unweighted.tobytes(), name

# %% [markdown] lang="pt"
# ## Lado a lado: o mesmo peso, a mesma semente
# %% [markdown] lang="en"
# ## Side by side: the same weight, the same seed

# %%
weight = 1.6
strong = {name: make(weight, weighting=name).images[0] for name in weightings}
contact_sheet(
    [enlarge(image, 150) for image in (unweighted, *strong.values())],
    ["rato cinza", *strong],
    columns=6,
    cell=150,
    title=f"(rato cinza:{weight})",
)

# %% [markdown] lang="pt"
# ## A mudança está no lugar certo?
#
# Pedimos mais *rato*. Medimos quanto cada imagem mudou no lugar do rato (segundo o mapa de atenção da imagem
# sem pesos) e no resto. **Mira** é a razão entre os dois: quanto maior, mais a mudança se concentra no rato.
# %% [markdown] lang="en"
# ## Is the change in the right place?
#
# We asked for more *mouse*. We measure how much each image changed on the mouse (according to the attention
# map of the image without weights) and elsewhere. **Aim** is the ratio of the two: the larger it is, the more
# the change is concentrated on the mouse.

# %%
on_mouse = mouse.mask().numpy()


def change(image):
    """Return the mean change of the pixels' colors, 0 to 255, on the mouse and elsewhere."""
    difference = np.abs(np.asarray(image, dtype=float) - np.asarray(unweighted, dtype=float)).mean(-1)
    return difference[on_mouse].mean(), difference[~on_mouse].mean()


rows = {name: change(image) for name, image in strong.items()}
rows = dict(sorted(rows.items(), key=lambda row: row[1][0] / max(row[1][1], 1e-9), reverse=True))
print(f"{'':>18}{'no rato':>10}{'no resto':>10}{'mira':>8}")  # pt
print(f"{'':>18}{'on mouse':>10}{'elsewhere':>10}{'aim':>8}")  # en
for name, (on, elsewhere) in rows.items():
    print(f"{name:>18}{on:10.2f}{elsewhere:10.2f}{on / max(elsewhere, 1e-9):8.1f}")
assert all(on > 0 for on, _ in rows.values())

# %% [markdown] lang="pt"
# Onde quase nada mudou, a mira é ruído. Uma semente só também não basta: repita com outras antes de concluir.
# Meça não só *se* a imagem mudou, mas *onde*.
#
# ## De 0 a 2
#
# Pesos de 0 até o dobro:
# %% [markdown] lang="en"
# Where hardly anything changed, the aim is noise. One seed is not enough either: repeat with others before
# you conclude. Measure not only *whether* the image changed, but *where*.
#
# ## From 0 to 2
#
# Weights from 0 to twice the normal weight:

# %%
ladder = ("scale", "comfy", "presence", "attention")
weights = (0, 0.5, 1, 1.5, 2)
images, labels = [], []
for name in ladder:
    for weight in weights:
        images.append(unweighted if weight == 1 else make(weight, weighting=name).images[0])
        labels.append(f"{name}: {weight}")
contact_sheet([enlarge(image, 150) for image in images], labels, columns=len(weights), cell=150)

# %% [markdown] lang="pt"
# ## O efeito do peso 0
#
# Nos embeddings, `scale` zera o vetor da palavra. Mas uma chave zero ainda é uma chave: sua semelhança com
# tudo é 0, e $e^0 = 1$ ainda recebe uma parte. `comfy` põe no lugar da palavra o vetor que o texto vazio tem
# ali, que também recebe atenção. Só na **atenção** o peso 0 dá exatamente zero. Os números são a parte da
# atenção que vai para *rato cinza*:
# %% [markdown] lang="en"
# ## The effect of weight 0
#
# In the embeddings, `scale` sets the word's vector to zero. But a zero key is still a key: its similarity
# with everything is 0, and $e^0 = 1$ still receives a part. `comfy` replaces the word's vector by that of the
# empty text in the same position, which receives attention as well. Only in **attention** does weight 0 give
# exactly zero. The numbers are the part of attention that goes to *rato cinza*:

# %%
parts = {"1": mouse.mass}
for name in ladder:
    parts[f"0, {name}"] = make(0, record=True, weighting=name).maps.word("rato cinza").mass
for name, part in parts.items():
    print(f"{name:>20} {part:.4f}")
assert parts["0, scale"] > 0
assert parts["0, comfy"] > 0
assert parts["0, attention"] == 0

# %% [markdown] lang="pt"
# ## Duas fórmulas na atenção
#
# `attention` soma $\log w$ antes da softmax: as partes continuam somando 1, e o resultado fica na escala em
# que o modelo foi treinado. `attention-p2p` (de *prompt-to-prompt*) multiplica a parte depois da softmax, e a
# soma deixa de ser 1; o resultado é o mesmo de multiplicar o valor da palavra. Com quatro números de exemplo:
# %% [markdown] lang="en"
# ## Two formulas in attention
#
# `attention` adds $\log w$ before the softmax: the parts still sum to 1, and the result stays in the range
# that the model was trained with. `attention-p2p` (from *prompt-to-prompt*) multiplies the part after the
# softmax, and the sum is no longer 1; the result is the same as with the word's value multiplied. With four
# numbers as an example:

# %%
logits, values = torch.tensor([1.0, 0.5, 2.0, 0.0]), torch.tensor([[1.0], [2.0], [3.0], [4.0]])
w = torch.tensor([1.0, 1.0, 1.6, 1.0])
p = logits.softmax(-1)
logit, p2p = (logits + w.log()).softmax(-1), p * w
for name, part in (("1", p), ("attention", logit), ("attention-p2p", p2p)):
    print(f"{name:>13}", [round(x, 3) for x in part.tolist()], f"Σ = {float(part.sum()):.3f}")
assert torch.isclose(logit.sum(), torch.tensor(1.0))
assert p2p.sum() > 1
assert torch.allclose(p2p @ values, p @ (w[:, None] * values))

# %% [markdown] lang="pt"
# ## Passos e regiões
#
# Só na atenção um peso pode valer em parte dos *passos* ou da *imagem*, porque ela age a cada passo e em cada
# ponto. Os primeiros passos decidem a composição, os últimos os detalhes:
# %% [markdown] lang="en"
# ## Steps and regions
#
# Only in attention can a weight act in a part of the *steps* or of the *image*, because attention acts at
# every step and at every point. The first steps decide the composition, the last ones the details:

# %%
options = ("", "{steps=0-0.3}", "{steps=0.3-1}", "{region=left}", "{region=right}")
images = [make(f"0{option}", weighting="attention").images[0] for option in options]
contact_sheet(
    [enlarge(image, 150) for image in images], [f"(rato cinza:0{o})" for o in options], columns=5, cell=150
)

# %% [markdown] lang="pt"
# ## Qual escolher
#
# | objetivo | use | motivo |
# |---|---|---|
# | refazer uma imagem de um prompt compartilhado | `weighting="a1111"` ou `"comfy"`, a da ferramenta de origem | são as fórmulas dela |
# | um peso com o mesmo efeito em qualquer modelo, T5 incluído | `weighting="attention"` | age na atenção; não depende do codificador de texto |
# | apagar uma palavra por completo | `weighting="attention"`, peso 0 | a sua parte da atenção é exatamente 0 |
# | enfraquecer ou apagar um trecho inteiro | `presence`, o padrão | mistura com os embeddings do prompt sem o trecho |
# | um peso só em parte da imagem, ou só em parte dos passos | `{region=…}`, `{steps=…}` | embeddings valem para a imagem inteira e todos os passos |
#
# Compare sempre com a imagem de peso 1, na mesma semente, e com o mapa da palavra (*Ler mapas de atenção com
# honestidade*, nesta pasta).
# %% [markdown] lang="en"
# ## Which one to choose
#
# | goal | use | reason |
# |---|---|---|
# | repeat an image from a shared prompt | `weighting="a1111"` or `"comfy"`, that of the original tool | they are its formulas |
# | a weight with the same effect on every model, T5 included | `weighting="attention"` | it acts in attention; it does not depend on the text encoder |
# | erase a word completely | `weighting="attention"`, weight 0 | its part of attention is exactly 0 |
# | weaken or erase a whole phrase | `presence`, the default | it blends with the embeddings of the prompt without the phrase |
# | a weight in a part of the image only, or of the steps | `{region=…}`, `{steps=…}` | embeddings hold for the whole image and all steps |
#
# Always compare with the image of weight 1, on the same seed, and with the word's map (*Reading attention
# maps honestly*, in this folder).

# %%
assert make(1.3).settings["weighting_by_encoder"]  # also in the metadata of every image file
make(1.3).settings["weighting_by_encoder"]
