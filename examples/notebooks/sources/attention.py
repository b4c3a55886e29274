"""What attention is: queries, keys, values, softmax, weighted sum; `make.py` tells of the format."""
# ruff: noqa: E402

# %% [markdown] lang="pt"
# # O que é atenção?
#
# Consultas, chaves, valores e uma softmax, com os números de um modelo de verdade. O primeiro de três
# cadernos que vão daqui até `(palavra:1.2)`.
#
# Para quem encontra a atenção pela primeira vez. Não é preciso saber de redes neurais; basta saber que um
# **vetor** é uma lista de números. Tudo o que aparece abaixo é calculado aqui mesmo, em segundos, pelo modelo
# pequeno que vem com o promptweight: sem rede, sem placa de vídeo. Onde uma célula afirma algo, um `assert`
# confere.
# %% [markdown] lang="en"
# # What is attention?
#
# Queries, keys, values and a softmax, with the numbers of a real model. The first of three notebooks that
# lead from here to `(palavra:1.2)`.
#
# For someone who meets attention for the first time. You need to know nothing of neural networks, only that a
# **vector** is a list of numbers. Everything below is computed right here, in seconds, by the small model
# that comes with promptweight: no network, no graphics card. Where a cell claims something, an `assert`
# checks it.
#
# The model reads Portuguese and English. Most prompts here are in Portuguese, because its word order (the
# color after the thing) shows something that English hides.

# %%
import promptweight

pipe = promptweight.load("mini")

# %%
import torch
import torch.nn.functional as F
from PIL import ImageDraw

from promptweight.attention import Record
from promptweight.render import enlarge, overlay

SEED, STEPS = 2, 12
prompt = "um gato vermelho persegue um rato cinza"
result = promptweight.generate(prompt, pipe, seed=SEED, num_inference_steps=STEPS)
enlarge(result.images[0], 256)

# %% [markdown] lang="pt"
# ## 1. Por que olhar longe?
#
# Para desenhar essa frase é preciso juntar coisas distantes. *Cinza* é a cor do rato, não do gato. Quem
# *persegue* é o gato, do outro lado da imagem. E se o gato começa à esquerda, o rato tem de caber à direita.
#
# Uma rede que só olha os vizinhos (uma **convolução**) espalha a notícia devagar. O modelo vê a imagem como
# uma grade de 16 × 16 retalhos (*patches*). Quantas camadas de vizinhos são precisas para que um canto saiba
# do canto oposto, e quanto da notícia chega lá?
# %% [markdown] lang="en"
# ## 1. Why look far?
#
# *A red cat chases a gray mouse.* To draw this, things that are far apart must be brought together. *Cinza*
# (gray) is the mouse's color, not the cat's. The one who *chases* is the cat, on the other side of the
# picture. And if the cat begins on the left, the mouse has to fit on the right.
#
# A network that looks at neighbors only (a **convolution**) spreads the news slowly. The model sees the
# picture as a grid of 16 × 16 patches. How many layers of neighbors does it take until one corner hears of
# the opposite corner, and how much of the news arrives?

# %%
news = torch.zeros(1, 1, 16, 16)
news[0, 0, 0, 0] = 1
neighbors = torch.full((1, 1, 3, 3), 1 / 9)

layers = 0
while news[0, 0, 15, 15] == 0:
    news = F.conv2d(news, neighbors, padding=1)
    layers += 1

print(f"camadas: {layers}, chega: {news[0, 0, 15, 15]:.0e}")  # pt
print(f"layers: {layers}, arrives: {news[0, 0, 15, 15]:.0e}")  # en
assert layers == 15

# %% [markdown] lang="pt"
# **Atenção** faz isso em um passo só: cada retalho pergunta a *todas* as palavras (ou a todos os outros
# retalhos) ao mesmo tempo, e recebe mais de quem tem mais a ver com a pergunta. A distância não conta.
#
# ## 2. Consulta, chave, valor
#
# Três vetores fazem tudo:
#
# - a **consulta** (*query*) de um retalho: o que ele procura;
# - a **chave** (*key*) de uma palavra: o que ela oferece, como a etiqueta de uma gaveta;
# - o **valor** (*value*) de uma palavra: o que há dentro da gaveta.
#
# O modelo os calcula multiplicando por três matrizes aprendidas: `to_q`, `to_k`, `to_v`. Vamos escutar uma
# camada de verdade enquanto ela desenha, e ficar com um passo do meio.
# %% [markdown] lang="en"
# **Attention** does it in a single step: every patch asks *all* words (or all other patches) at once, and
# gets more from those that have more to do with its question. Distance does not count.
#
# ## 2. Query, key, value
#
# Three vectors do everything:
#
# - the **query** of a patch: what it is looking for;
# - the **key** of a word: what it has on offer, like the label on a drawer;
# - the **value** of a word: what is in the drawer.
#
# The model computes them by multiplying with three learned matrices: `to_q`, `to_k`, `to_v`. Let us listen to
# a real layer while it draws, and keep one step from the middle.

# %%
layer = pipe.unet.up_blocks[2].attentions[0].transformer_blocks[0].attn2  # the picture asks the text
step = STEPS // 2


def listen(module, outputs):
    """Keep what a matrix gives out, step by step; the last of the batch belongs to our prompt."""

    def keep(_module, _inputs, output):
        outputs.append(output[-1])

    return module.register_forward_hook(keep)


# where the cat is: the place where "gato vermelho" (red cat) gets most
y, x = divmod(int(result.maps.word("gato vermelho").tensor.argmax()), 64)
place = ((x + 0.5) / 64, (y + 0.5) / 64)
patch = y // 4 * 16 + x // 4

heard = {"to_q": [], "to_k": [], "to_v": []}
hooks = [listen(layer.get_submodule(name), outputs) for name, outputs in heard.items()]
result = promptweight.generate(
    prompt,
    pipe,
    seed=SEED,
    num_inference_steps=STEPS,
    record=Record(steps="keep", heads="keep", patches=(place,)),
)
for hook in hooks:
    hook.remove()

for name, outputs in heard.items():
    print(name, tuple(outputs[step].shape))

# %% [markdown] lang="pt"
# 256 retalhos com uma consulta cada, 77 lugares do texto com uma chave e um valor cada. O texto tem sempre 77
# lugares: um **começo**, as palavras, um **fim**, e enchimento até completar.
#
# A camada reparte cada vetor entre várias **cabeças**, que trabalham lado a lado. Primeiro olhamos uma só, e
# um retalho só: este, em cima do gato.
# %% [markdown] lang="en"
# 256 patches with a query each, 77 places of the text with a key and a value each. The text always has 77
# places: a **beginning**, the words, an **end**, and padding up to the full length.
#
# The layer divides every vector among several **heads**, which work side by side. First we look at one of
# them, and at one patch: this one, on the cat.


# %%
def split(vectors):
    """(places, width) → (heads, places, width of a head)."""
    return vectors.unflatten(-1, (layer.heads, -1)).transpose(0, 1)


query, key, value = (split(heard[name][step]) for name in heard)
print("query, key, value:", *map(tuple, (query.shape, key.shape, value.shape)))


def marked(image, place):
    """The picture with a square round a patch."""
    image = enlarge(image, 256)
    x, y = (int(part * 16) * 16 for part in place)
    ImageDraw.Draw(image).rectangle((x, y, x + 16, y + 16), outline="white", width=2)
    return image


marked(result.images[0], place)

# %% [markdown] lang="pt"
# ## 3. Semelhança: um produto escalar
#
# Quanto a pergunta do retalho tem a ver com a etiqueta da palavra? Multiplique número por número e some. É o
# **produto escalar**: grande quando os dois vetores apontam para o mesmo lado, zero quando não têm nada a
# ver, negativo quando se opõem.
# %% [markdown] lang="en"
# ## 3. Similarity: a dot product
#
# How much does the patch's question have to do with the word's label? Multiply number by number and add up.
# That is the **dot product**: large when the two vectors point the same way, zero when they have nothing to
# do with each other, negative when they are opposed.

# %%
similarities = query @ key.transpose(1, 2)  # (heads, 256 patches, 77 places)
head = int(similarities[:, patch].std(-1).argmax())  # the head in which this patch is most selective

tokens = [token for token, _ in result.maps.row(0).tokens]
names = [token.piece.removesuffix("</w>") for token in tokens]
words = [number for number, token in enumerate(tokens) if token.kind == "text"]
shown = [0, *words, words[-1] + 1]  # the beginning, the words, the end

number = words[2]
by_hand = sum(q * k for q, k in zip(query[head, patch].tolist(), key[head, number].tolist(), strict=True))
print("query:", [round(q, 2) for q in query[head, patch].tolist()])
print(f"key of {names[number]}:", [round(k, 2) for k in key[head, number].tolist()])
print(f"dot product: {by_hand:.4f}")
assert abs(by_hand - float(similarities[head, patch, number])) < 1e-4


def bars(values, places=shown):
    """Print a number and a bar for each place of the text."""
    longest = max(abs(float(values[place])) for place in places)
    for place in places:
        number = float(values[place])
        bar = ("█" if number > 0 else "░") * round(30 * abs(number) / longest)
        print(f"{names[place]:>15} {number:8.3f} {bar}")


bars(similarities[head, patch])

# %% [markdown] lang="pt"
# ## 4. Por que dividir por √d
#
# Some `d` produtos de números ao acaso e a soma cresce como √d: vetores mais longos dariam semelhanças
# maiores só por serem longos. Dividir por √d tira esse efeito. Veja com vetores sorteados:
# %% [markdown] lang="en"
# ## 4. Why divide by √d
#
# Add up `d` products of random numbers and the sum grows like √d: longer vectors would give larger
# similarities only because they are long. Dividing by √d takes that away. See it with vectors drawn at
# random:

# %%
generator = torch.Generator().manual_seed(0)
print("    d     √d  spread  /√d  top share, plain  top share, /√d")
for d in (4, 16, 64, 256):
    one = torch.randn(1, d, generator=generator).expand(2000, d)
    one, others = torch.randn(2000, 1, d, generator=generator), torch.randn(2000, 77, d, generator=generator)
    dots = (one * others).sum(-1)
    spread = float(dots.std())
    plain, scaled = (x.softmax(-1).amax(-1).mean() for x in (dots, dots / d**0.5))
    print(f"{d:5} {d**0.5:6.1f} {spread:7.2f} {spread / d**0.5:4.2f} {plain:17.2f} {scaled:15.2f}")
    assert abs(spread / d**0.5 - 1) < 0.05
    assert scaled < plain

# %% [markdown] lang="pt"
# As duas últimas colunas contam o que acontece depois, na *softmax*: sem a divisão, com vetores longos, uma
# só palavra fica com quase tudo, e o modelo não tem como aprender aos poucos.
#
# ## 5. Softmax: de semelhanças a partes de um todo
#
# Queremos partes: nenhuma negativa, soma 1. Eleve *e* a cada semelhança (fica positivo, e quem é um pouco
# maior fica bem maior) e divida pela soma.
#
# $$p_j = \frac{e^{s_j}}{\sum_i e^{s_i}}, \qquad s_j = \frac{q \cdot k_j}{\sqrt d}$$
# %% [markdown] lang="en"
# The last two columns tell what happens next, in the *softmax*: without the division, with long vectors, a
# single word gets nearly everything, and the model has no way to learn little by little.
#
# ## 5. Softmax: from similarities to parts of a whole
#
# We want parts: none negative, sum 1. Raise *e* to each similarity (it becomes positive, and what is a little
# larger becomes a lot larger) and divide by the sum.
#
# $$p_j = \frac{e^{s_j}}{\sum_i e^{s_i}}, \qquad s_j = \frac{q \cdot k_j}{\sqrt d}$$

# %%
d = query.shape[-1]
logits = similarities / d**0.5
exponentials = logits.exp()
probability = exponentials / exponentials.sum(-1, keepdim=True)  # (heads, 256, 77)

bars(probability[head, patch])
padding = probability[:, patch, words[-1] + 2 :].sum(-1)
print("enchimento, por cabeça:", [round(part, 3) for part in padding.tolist()])  # pt
print("padding, by head:", [round(part, 3) for part in padding.tolist()])  # en
assert abs(float(probability[head, patch].sum()) - 1) < 1e-5
assert torch.allclose(probability, logits.softmax(-1), atol=1e-6)

# %% [markdown] lang="pt"
# Os 77 lugares repartem 1 entre si. Em outras cabeças, o mesmo retalho não procura palavra nenhuma: como 1
# tem de ir para algum lugar, vai para o enchimento.
#
# É isto que o promptweight grava. Os números dele, tirados do modelo sem mudar nada na imagem, são os nossos:
# %% [markdown] lang="en"
# The 77 places share 1 among themselves. In other heads the same patch is not looking for any word: since 1
# has to go somewhere, it goes to the padding.
#
# This is what promptweight records. Its numbers, taken from the model without changing the picture, are ours:

# %%
this_layer = result.maps.layers("up_blocks.2.attentions.0").steps(step, step + 1)
recorded = this_layer.heads(head).row(0).tensor
assert torch.allclose(recorded, probability[head, patch], atol=1e-5)
print(f"{float((recorded - probability[head, patch]).abs().max()):.0e}")

# %% [markdown] lang="pt"
# ## 6. Soma ponderada: o que o retalho recebe
#
# Agora abrem-se as gavetas. O retalho recebe a mistura dos valores, cada um na sua parte: $o = \sum_j p_j
# v_j$. E isso é tudo: **atenção = semelhança, softmax, soma ponderada**. Em PyTorch é uma função só, e dá o
# mesmo.
# %% [markdown] lang="en"
# ## 6. Weighted sum: what the patch receives
#
# Now the drawers are opened. The patch receives the mixture of the values, each in its part: $o = \sum_j p_j
# v_j$. And that is all: **attention = similarity, softmax, weighted sum**. In PyTorch it is a single
# function, and it gives the same.

# %%
output = probability @ value  # (heads, 256, d)
print([round(number, 2) for number in output[head, patch].tolist()])
fused = F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
assert torch.allclose(output, fused, atol=1e-5)

# %% [markdown] lang="pt"
# ## 7. Todos os retalhos, todas as palavras: uma tabela
#
# Fizemos a conta de um retalho. O modelo faz a dos 256 ao mesmo tempo: uma **tabela** com uma linha por
# retalho e uma coluna por lugar do texto. Uma linha diz o que um retalho procura. Uma coluna, posta na grade
# de 16 × 16, diz onde na imagem se procura uma palavra: é um **mapa de atenção**.
# %% [markdown] lang="en"
# ## 7. All patches, all words: one table
#
# We did the sum for one patch. The model does all 256 at once: a **table** with a row for every patch and a
# column for every place of the text. A row tells what a patch is looking for. A column, put on the grid of 16
# × 16, tells where in the picture a word is looked for: that is an **attention map**.

# %%
red = [position for word in result.maps.words if word.text == "vermelho" for position in word.positions]
map_of_red = probability[head][:, red].sum(-1).reshape(16, 16)
assert abs(float(map_of_red.mean()) - this_layer.heads(head).word("vermelho").mass) < 1e-5
overlay(result.images[0], map_of_red, label="vermelho", upscale=256)

# %% [markdown] lang="pt"
# ## O que levar daqui
#
# 1. Atenção liga o que está longe em um passo: todos perguntam a todos.
# 2. Semelhança é um produto escalar, dividido por √d; a softmax faz dela partes de 1; a soma ponderada dos
#    valores é o que se recebe.
# 3. Uma linha da tabela diz o que um retalho procura; uma coluna é o mapa de uma palavra.
#
# **Para experimentar:** mude `step` para 0 ou para 11: o retalho já sabe, ou ainda sabe, o que procura?
#
# A seguir: *Quem olha para quem?*: as cabeças, as palavras que leem palavras, a imagem que olha a si mesma.
# %% [markdown] lang="en"
# ## What to take away
#
# 1. Attention joins what is far apart in one step: all ask all.
# 2. Similarity is a dot product, divided by √d; the softmax makes it parts of 1; the weighted sum of the
#    values is what is received.
# 3. A row of the table tells what a patch looks for; a column is the map of a word.
#
# **To try:** set `step` to 0 or to 11: does the patch know already, or still, what it looks for?
#
# Next: *Who looks at whom?*: the heads, words that read words, the picture that looks at itself.
