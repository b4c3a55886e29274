"""Which weighting to use: every method on one seed, in the embeddings and in attention."""
# ruff: noqa: E402, E501

# %% [markdown] lang="pt"
# # Qual ponderação usar?
#
# `(palavra:1.2)` quer dizer "mais disto". Mas *como* o modelo recebe esse pedido? Há muitas respostas, e o
# mesmo número dá imagens diferentes. Aqui elas ficam lado a lado, com a mesma semente e a mesma frase, no
# modelo pequeno que vem com o promptweight.
#
# Um peso pode agir em dois lugares:
#
# - nos **embeddings**: mexe nos vetores da palavra, antes de a imagem começar (é o que fazem AUTOMATIC1111,
#   ComfyUI, compel);
# - na **atenção**: muda quanto cada ponto da imagem olha para a palavra, em todas as camadas e passos.
# %% [markdown] lang="en"
# # Which weighting should I use?
#
# `(word:1.2)` means "more of this". But *how* does the model get this request? There are many answers, and
# the same number gives different pictures. Here they stand side by side, with the same seed and the same
# sentence, on the small model that comes with promptweight.
#
# A weight can act in two places:
#
# - in the **embeddings**: it changes the word's vectors before the picture begins (as AUTOMATIC1111,
#   ComfyUI and compel do);
# - in **attention**: it changes how much every point of the picture looks at the word, in every layer and
#   step.

# %%
import promptweight

pipe = promptweight.load("mini")

# %%
import numpy as np
import torch

from promptweight.render import contact_sheet, enlarge, overlay
from promptweight.weighting import METHODS

SEED, STEPS = 2, 12


def make(weight, **settings):
    """The same picture, with another weight on the mouse or another way to apply it."""
    return promptweight.generate(
        f"um gato vermelho persegue um (rato cinza:{weight})",
        pipe,
        seed=SEED,
        num_inference_steps=STEPS,
        **{"record": False} | settings,
    )


plain = promptweight.generate(
    "um gato vermelho persegue um rato cinza", pipe, seed=SEED, num_inference_steps=STEPS
)
picture = plain.images[0]
mouse = plain.maps.word("rato cinza")
contact_sheet([enlarge(picture, 224), overlay(picture, mouse, upscale=224)], ["", "rato cinza"], cell=224)

# %% [markdown] lang="pt"
# ## As maneiras
# %% [markdown] lang="en"
# ## The ways

# %%
ways = {name: {"method": name} for name in METHODS if name != "none"}
ways |= {f"attention, {mode}": {"space": "attention", "mode": mode} for mode in ("logit", "p2p", "value")}
for name, method in METHODS.items():
    print(f"{name:>12}  {method.description}")
print("   attention  logit: softmax(s + log w);  p2p: w·p;  value: w·v")

# %% [markdown] lang="pt"
# ## Peso 1 não é peso nenhum
#
# Uma boa maneira não mexe em nada quando o peso é 1. Todas passam, bit a bit:
# %% [markdown] lang="en"
# ## Weight 1 is no weight at all
#
# A good way touches nothing when the weight is 1. All of them pass, bit for bit:

# %%
for name in ("a1111", "compel", "comfy++", "attention, logit"):
    assert make(1, **ways[name]).images[0].tobytes() == picture.tobytes(), name

# %% [markdown] lang="pt"
# ## Lado a lado: o mesmo peso, a mesma semente
# %% [markdown] lang="en"
# ## Side by side: the same weight, the same seed

# %%
weight = 1.6
strong = {name: make(weight, **settings).images[0] for name, settings in ways.items()}
contact_sheet(
    [enlarge(image, 150) for image in (picture, *strong.values())],
    ["rato cinza", *strong],
    columns=6,
    cell=150,
    title=f"(rato cinza:{weight})",
)

# %% [markdown] lang="pt"
# ## Mudou onde devia?
#
# Pedimos mais *rato*. Medimos quanto cada imagem mudou onde o rato está (o mapa de atenção da imagem sem
# pesos diz onde) e no resto. **Mira** é a razão: quanto maior, mais a mudança ficou no lugar do pedido.
# %% [markdown] lang="en"
# ## Did it change where it should?
#
# We asked for more *mouse*. We measure how much each picture changed where the mouse is (the attention map
# of the picture without weights tells where) and elsewhere. **Aim** is the ratio: the larger, the more the
# change stayed where it was asked for.

# %%
there = mouse.mask().numpy()


def change(image):
    """Mean change of a pixel's colors, 0 to 255, on the mouse and elsewhere."""
    difference = np.abs(np.asarray(image, dtype=float) - np.asarray(picture, dtype=float)).mean(-1)
    return difference[there].mean(), difference[~there].mean()


rows = {name: change(image) for name, image in strong.items()}
rows = dict(sorted(rows.items(), key=lambda row: row[1][0] / max(row[1][1], 1e-9), reverse=True))
print(f"{'':>18}{'no rato':>10}{'no resto':>10}{'mira':>8}")  # pt
print(f"{'':>18}{'on mouse':>10}{'elsewhere':>10}{'aim':>8}")  # en
for name, (on, elsewhere) in rows.items():
    print(f"{name:>18}{on:10.2f}{elsewhere:10.2f}{on / max(elsewhere, 1e-9):8.1f}")
assert all(on > 0 for on, _ in rows.values())

# %% [markdown] lang="pt"
# Onde quase nada mudou, a mira é ruído. E uma semente é uma anedota, não uma medida: repita com outras
# antes de concluir. O que a tabela ensina é a pergunta certa: não só "mudou?", mas "mudou *onde*?".
#
# ## De 0 a 2
#
# O que acontece quando o peso some, e quando dobra?
# %% [markdown] lang="en"
# Where hardly anything changed, the aim is noise. And one seed is an anecdote, not a measurement: repeat
# with others before you conclude. What the table teaches is the right question: not only "did it change?",
# but "*where* did it change?".
#
# ## From 0 to 2
#
# What happens when the weight vanishes, and when it doubles?

# %%
ladder = ("scale", "comfy", "attention, logit")
weights = (0, 0.5, 1, 1.5, 2)
pictures, labels = [], []
for name in ladder:
    for weight in weights:
        pictures.append(picture if weight == 1 else make(weight, **ways[name]).images[0])
        labels.append(f"{name}: {weight}")
contact_sheet([enlarge(image, 150) for image in pictures], labels, columns=len(weights), cell=150)

# %% [markdown] lang="pt"
# ## O que quer dizer peso 0?
#
# Nos embeddings, `scale` põe o vetor da palavra em zero. Mas uma chave zero ainda é uma chave: a sua
# semelhança com tudo é 0, e $e^0 = 1$ ainda recebe a sua parte. `comfy` põe no lugar da palavra o que o
# texto vazio teria ali, que também é olhado. Só na **atenção** o peso 0 é zero mesmo. Os números são a
# parte da atenção que vai para *rato cinza*:
# %% [markdown] lang="en"
# ## What does weight 0 mean?
#
# In the embeddings, `scale` sets the word's vector to zero. But a zero key is still a key: its similarity
# with everything is 0, and $e^0 = 1$ still gets its part. `comfy` puts in the word's place what the empty
# text would have there, and that is looked at too. Only in **attention** is weight 0 really zero. The
# numbers are the part of attention that goes to *rato cinza*:

# %%
parts = {"1": mouse.mass}
for name in ladder:
    parts[f"0, {name}"] = make(0, record=True, **ways[name]).maps.word("rato cinza").mass
for name, part in parts.items():
    print(f"{name:>20} {part:.4f}")
assert parts["0, scale"] > 0
assert parts["0, comfy"] > 0
assert parts["0, attention, logit"] == 0

# %% [markdown] lang="pt"
# ## Três contas na atenção
#
# `logit` soma $\log w$ antes da softmax: as partes continuam somando 1, e o resultado fica na escala que o
# modelo conhece. `p2p` (do *prompt-to-prompt*) multiplica a parte depois, e a soma deixa de ser 1. `value`
# multiplica o que está na gaveta: para a imagem é a mesma conta que `p2p`. Com quatro números de exemplo:
# %% [markdown] lang="en"
# ## Three sums in attention
#
# `logit` adds $\log w$ before the softmax: the parts still sum to 1, and the result stays in the range that
# the model knows. `p2p` (of *prompt-to-prompt*) multiplies the part afterwards, and the sum is no longer 1.
# `value` multiplies what is in the drawer: to the picture it is the same sum as `p2p`. With four numbers as
# an example:

# %%
logits, values = torch.tensor([1.0, 0.5, 2.0, 0.0]), torch.tensor([[1.0], [2.0], [3.0], [4.0]])
w = torch.tensor([1.0, 1.0, 1.6, 1.0])
p = logits.softmax(-1)
logit, p2p = (logits + w.log()).softmax(-1), p * w
for name, part in (("1", p), ("logit", logit), ("p2p", p2p)):
    print(f"{name:>6}", [round(x, 3) for x in part.tolist()], f"Σ = {float(part.sum()):.3f}")
assert torch.isclose(logit.sum(), torch.tensor(1.0))
assert p2p.sum() > 1
assert torch.allclose(p2p @ values, p @ (w[:, None] * values))
assert make(1.6, **ways["attention, p2p"]).images[0].tobytes() == strong["attention, value"].tobytes()

# %% [markdown] lang="pt"
# ## Quando e onde
#
# Só a atenção pode dizer *quando* e *onde* um peso vale, porque ela age a cada passo e em cada ponto. Os
# primeiros passos decidem a composição, os últimos os detalhes:
# %% [markdown] lang="en"
# ## When and where
#
# Only attention can say *when* and *where* a weight holds, since it acts at every step and at every point.
# The first steps decide the composition, the last ones the details:

# %%
options = ("", "{steps=0-0.3}", "{steps=0.3-1}", "{region=left}", "{region=right}")
pictures = [make(f"0{option}", space="attention").images[0] for option in options]
contact_sheet(
    [enlarge(image, 150) for image in pictures], [f"(rato cinza:0{o})" for o in options], columns=5, cell=150
)

# %% [markdown] lang="pt"
# ## Então, qual?
#
# | você quer | use | por quê |
# |---|---|---|
# | refazer uma imagem de um prompt compartilhado | `method="a1111"` ou `"comfy"`, o da ferramenta de origem | são os números dela |
# | um peso que valha o mesmo em qualquer modelo, T5 incluído | `space="attention"` | age na atenção; não depende do codificador de texto |
# | apagar uma palavra de verdade | `space="attention"`, peso 0 | a sua parte da atenção é exatamente 0 |
# | enfraquecer pouco a pouco, em SD 1 e 2 | `compel` ou `down_weight` | misturam com o prompt sem a palavra, que o modelo entende |
# | um peso só em parte da imagem, ou só em parte dos passos | `space="attention"` com `{region=…}`, `{steps=…}` | embeddings não têm lugar nem hora |
# | não pensar nisso | nada | cada codificador usa o seu método usual |
#
# E confira com seus olhos: mesma semente, peso 1 ao lado, e o mapa da palavra (*Ler mapas de atenção com
# honestidade*, nesta pasta).
# %% [markdown] lang="en"
# ## So, which one?
#
# | you want | use | because |
# |---|---|---|
# | to make a picture again from a shared prompt | `method="a1111"` or `"comfy"`, that of the tool it came from | they are its numbers |
# | a weight that means the same on every model, T5 included | `space="attention"` | it acts in attention; it does not depend on the text encoder |
# | to really erase a word | `space="attention"`, weight 0 | its part of attention is exactly 0 |
# | to weaken little by little, on SD 1 and 2 | `compel` or `down_weight` | they blend with the prompt without the word, which the model understands |
# | a weight in a part of the picture only, or of the steps | `space="attention"` with `{region=…}`, `{steps=…}` | embeddings have no place and no time |
# | not to think about it | nothing | every encoder uses its usual method |
#
# And check with your own eyes: the same seed, weight 1 beside it, and the word's map (*Reading attention maps
# honestly*, in this folder).

# %%
assert make(1.3).settings["methods"]  # what was used is told, and written into every picture file
make(1.3).settings["methods"]
