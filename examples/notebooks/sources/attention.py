"""Introduction to attention: queries, keys, values, softmax and weighted sum (format: see `make.py`)."""
# ruff: noqa: E402

# %% [markdown] lang="pt"
# # O que é atenção?
#
# Consultas, chaves, valores e uma softmax, com os números de um modelo de verdade. O primeiro de três
# cadernos que vão daqui até `(palavra:1.2)`.
#
# Para quem vê atenção pela primeira vez. Basta saber que um **vetor** é uma lista de números. O modelo
# pequeno que vem com o promptweight calcula tudo em segundos, sem rede e sem placa de vídeo. Cada afirmação é
# conferida por um `assert`.
# %% [markdown] lang="en"
# # What is attention?
#
# Queries, keys, values and a softmax, with the numbers of a real model. The first of three notebooks that
# lead from here to `(palavra:1.2)`.
#
# For readers new to attention. The only prerequisite: a **vector** is a list of numbers. The small model that
# comes with promptweight computes everything in seconds, without a network or a graphics card. Each claim is
# checked by an `assert`.
#
# The model takes prompts in Portuguese and English. Most prompts here are in Portuguese, because its word
# order (the color after the noun) shows an effect that English hides.

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
result = promptweight.generate(pipe, prompt, seed=SEED, num_inference_steps=STEPS)
enlarge(result.images[0], 256)

# %% [markdown] lang="pt"
# ## 1. Por que ligar partes distantes?
#
# Para desenhar essa frase, partes distantes da imagem têm de combinar. *Cinza* é a cor do rato, não do gato.
# Quem *persegue* é o gato, do outro lado da imagem. Se o gato fica à esquerda, o rato tem de caber à direita.
#
# Uma **convolução** combina só vizinhos, e por isso propaga informação devagar. O modelo divide a imagem em
# uma grade de 16 × 16 **patches** (patches). Quantas convoluções são precisas para que a informação de um
# canto chegue ao canto oposto, e quanto dela chega?
# %% [markdown] lang="en"
# ## 1. Why connect distant parts?
#
# *A red cat chases a gray mouse.* To draw this sentence, distant parts of the image must agree. *Cinza*
# (gray) is the mouse's color, not the cat's. The one that *chases* is the cat, on the other side of the
# image. If the cat is on the left, the mouse has to fit on the right.
#
# A **convolution** combines neighbors only, so it propagates information slowly. The model divides the image
# into a grid of 16 × 16 **patches**. How many convolutions does information from one corner need to reach the
# opposite corner, and how much of it arrives?

# %%
signal = torch.zeros(1, 1, 16, 16)
signal[0, 0, 0, 0] = 1
neighbors = torch.full((1, 1, 3, 3), 1 / 9)

layers = 0
while signal[0, 0, 15, 15] == 0:
    signal = F.conv2d(signal, neighbors, padding=1)
    layers += 1

print(f"camadas: {layers}, chega: {signal[0, 0, 15, 15]:.0e}")  # pt
print(f"layers: {layers}, arrives: {signal[0, 0, 15, 15]:.0e}")  # en
assert layers == 15

# %% [markdown] lang="pt"
# **Atenção** faz isso em um passo só: compara cada patch com *todas* as palavras (ou com todos os outros
# patches) ao mesmo tempo, e cada patch recebe mais das que mais combinam com ele. A distância não conta.
#
# ## 2. Consulta, chave, valor
#
# Três vetores fazem tudo:
#
# - a **consulta** (*query*) de um patch: o que ele procura;
# - a **chave** (*key*) de uma palavra: o que ela oferece, como a etiqueta de uma gaveta;
# - o **valor** (*value*) de uma palavra: o conteúdo da gaveta.
#
# O modelo os calcula com três matrizes aprendidas: `to_q`, `to_k`, `to_v`. Registramos as saídas delas em uma
# camada, durante a geração, e usamos um passo do meio.
# %% [markdown] lang="en"
# **Attention** does it in a single step: it compares every patch with *all* words (or with all other patches)
# at once, and every patch receives more from those that match it better. Distance does not count.
#
# ## 2. Query, key, value
#
# Three vectors do everything:
#
# - the **query** of a patch: what it searches for;
# - the **key** of a word: what it offers, like the label on a drawer;
# - the **value** of a word: the content of the drawer.
#
# The model computes them with three learned matrices: `to_q`, `to_k`, `to_v`. We record their outputs in one
# layer during generation, and use a step from the middle.

# %%
layer = pipe.unet.up_blocks[2].attentions[0].transformer_blocks[0].attn2  # cross-attention
step = STEPS // 2


def record_outputs(module, outputs):
    """Append a module's output at every step; the last row of the batch belongs to the prompt."""

    def append(_module, _inputs, output):
        outputs.append(output[-1])

    return module.register_forward_hook(append)


# a patch on the cat: where the map of "gato vermelho" (red cat) is highest
y, x = divmod(int(result.maps.word("gato vermelho").tensor.argmax()), 128)
place = ((x + 0.5) / 128, (y + 0.5) / 128)
patch = y // 8 * 16 + x // 8

projections = {"to_q": [], "to_k": [], "to_v": []}
hooks = [record_outputs(layer.get_submodule(name), outputs) for name, outputs in projections.items()]
result = promptweight.generate(
    pipe,
    prompt,
    seed=SEED,
    num_inference_steps=STEPS,
    record=Record(steps="keep", heads="keep", patches=(place,)),
)
for hook in hooks:
    hook.remove()

for name, outputs in projections.items():
    print(name, tuple(outputs[step].shape))

# %% [markdown] lang="pt"
# São 256 patches com uma consulta cada, e 77 tokens de texto com uma chave e um valor cada. O texto tem
# sempre 77 tokens: um de **início**, os das palavras, um de **fim**, e preenchimento (*padding*) até
# completar.
#
# A camada divide cada vetor entre várias **cabeças**, que fazem a mesma conta lado a lado. Começamos com uma
# cabeça e um patch: este, em cima do gato.
# %% [markdown] lang="en"
# There are 256 patches with one query each, and 77 text tokens with one key and one value each. The text
# always has 77 tokens: one for the **beginning**, those of the words, one for the **end**, and padding up to
# the full length.
#
# The layer divides every vector among several **heads**, which do the same computation side by side. We start
# with one head and one patch: this one, on the cat.


# %%
def split(vectors):
    """Split vectors among the heads: (tokens, width) → (heads, tokens, width of a head)."""
    return vectors.unflatten(-1, (layer.heads, -1)).transpose(0, 1)


query, key, value = (split(projections[name][step]) for name in projections)
print("query, key, value:", *map(tuple, (query.shape, key.shape, value.shape)))


def marked(image, place):
    """Draw a square around a patch."""
    image = enlarge(image, 256)
    x, y = (int(part * 16) * 16 for part in place)
    ImageDraw.Draw(image).rectangle((x, y, x + 16, y + 16), outline="white", width=2)
    return image


marked(result.images[0], place)

# %% [markdown] lang="pt"
# ## 3. Semelhança: um produto escalar
#
# Quanto a consulta do patch combina com a chave da palavra? Multiplique número por número e some. É o
# **produto escalar**: grande quando os dois vetores apontam para o mesmo lado, zero quando são
# perpendiculares, negativo quando se opõem.
# %% [markdown] lang="en"
# ## 3. Similarity: a dot product
#
# How well does the patch's query match the word's key? Multiply number by number and add up. That is the
# **dot product**: large when the two vectors point the same way, zero when they are perpendicular, negative
# when they are opposed.

# %%
similarities = query @ key.transpose(1, 2)  # (heads, 256 patches, 77 tokens)
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


def print_bars(values, positions=shown):
    """Print a number and a bar for each token."""
    longest = max(abs(float(values[position])) for position in positions)
    for position in positions:
        number = float(values[position])
        bar = ("█" if number > 0 else "░") * round(30 * abs(number) / longest)
        print(f"{names[position]:>15} {number:8.3f} {bar}")


print_bars(similarities[head, patch])

# %% [markdown] lang="pt"
# ## 4. Por que dividir por √d
#
# A soma de `d` produtos de números aleatórios cresce como √d: vetores mais longos dariam semelhanças maiores
# só por serem longos. Dividir por √d tira esse efeito. Com vetores aleatórios:
# %% [markdown] lang="en"
# ## 4. Why divide by √d
#
# The sum of `d` products of random numbers grows like √d: longer vectors would give larger similarities only
# because they are long. Dividing by √d removes this effect. With random vectors:

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
# As duas últimas colunas mostram o efeito na *softmax*: sem a divisão, com vetores longos, uma só palavra
# fica com quase tudo, e os gradientes do treino quase somem.
#
# ## 5. Softmax: de semelhanças a partes de um todo
#
# Queremos partes: nenhuma negativa, soma 1. Eleve *e* a cada semelhança (o resultado é positivo, e diferenças
# pequenas ficam grandes) e divida pela soma.
#
# $$p_j = \frac{e^{s_j}}{\sum_i e^{s_i}}, \qquad s_j = \frac{q \cdot k_j}{\sqrt d}$$
# %% [markdown] lang="en"
# The last two columns show the effect in the *softmax*: without the division, with long vectors, a single
# word gets nearly everything, and the gradients of training almost vanish.
#
# ## 5. Softmax: from similarities to parts of a whole
#
# We want parts: none negative, sum 1. Raise *e* to each similarity (the result is positive, and small
# differences become large) and divide by the sum.
#
# $$p_j = \frac{e^{s_j}}{\sum_i e^{s_i}}, \qquad s_j = \frac{q \cdot k_j}{\sqrt d}$$

# %%
d = query.shape[-1]
logits = similarities / d**0.5
exponentials = logits.exp()
probability = exponentials / exponentials.sum(-1, keepdim=True)  # (heads, 256, 77)

print_bars(probability[head, patch])
padding = probability[:, patch, words[-1] + 2 :].sum(-1)
print("preenchimento, por cabeça:", [round(part, 3) for part in padding.tolist()])  # pt
print("padding, by head:", [round(part, 3) for part in padding.tolist()])  # en
assert abs(float(probability[head, patch].sum()) - 1) < 1e-5
assert torch.allclose(probability, logits.softmax(-1), atol=1e-6)

# %% [markdown] lang="pt"
# Os 77 tokens dividem 1 entre si. Em outras cabeças, nenhuma palavra combina com este patch: a soma continua
# sendo 1, e quase tudo vai para o preenchimento.
#
# São estes os números que o promptweight registra, sem mudar nada na imagem:
# %% [markdown] lang="en"
# The 77 tokens share 1 among themselves. In other heads no word matches this patch: the sum is still 1, and
# nearly all of it goes to the padding.
#
# These are the numbers that promptweight records, without changing the image:

# %%
this_layer = result.maps.layers("up_blocks.2.attentions.0").steps(step, step + 1)
recorded = this_layer.heads(head).row(0).tensor
assert torch.allclose(recorded, probability[head, patch], atol=1e-5)
print(f"{float((recorded - probability[head, patch]).abs().max()):.0e}")

# %% [markdown] lang="pt"
# ## 6. Soma ponderada: o resultado do patch
#
# O patch recebe a soma dos valores, cada um multiplicado por sua parte: $o = \sum_j p_j v_j$. Isso é tudo:
# **atenção = semelhança, softmax, soma ponderada**. Em PyTorch é uma função só, com o mesmo resultado.
# %% [markdown] lang="en"
# ## 6. Weighted sum: the output of the patch
#
# The patch receives the sum of the values, each multiplied by its part: $o = \sum_j p_j v_j$. That is all:
# **attention = similarity, softmax, weighted sum**. In PyTorch it is a single function, with the same result.

# %%
output = probability @ value  # (heads, 256, d)
print([round(number, 2) for number in output[head, patch].tolist()])
fused = F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
assert torch.allclose(output, fused, atol=1e-5)

# %% [markdown] lang="pt"
# ## 7. Todos os patches, todas as palavras: uma tabela
#
# Fizemos a conta de um patch. O modelo faz a dos 256 ao mesmo tempo: uma **tabela** com uma linha por patch e
# uma coluna por token. Uma linha mostra como um patch divide sua atenção. Uma coluna, disposta na grade de 16
# × 16, mostra quanta atenção cada parte da imagem dá a um token: é um **mapa de atenção**.
# %% [markdown] lang="en"
# ## 7. All patches, all words: one table
#
# We computed one patch. The model computes all 256 at once: a **table** with a row for every patch and a
# column for every token. A row shows how one patch divides its attention. A column, arranged on the grid of
# 16 × 16, shows how much attention each part of the image gives to one token: that is an **attention map**.

# %%
red = [position for word in result.maps.words if word.text == "vermelho" for position in word.positions]
map_of_red = probability[head][:, red].sum(-1).reshape(16, 16)
assert abs(float(map_of_red.mean()) - this_layer.heads(head).word("vermelho").mass) < 1e-5
overlay(result.images[0], map_of_red, label="vermelho", upscale=256)

# %% [markdown] lang="pt"
# ## O que levar daqui
#
# 1. Atenção liga partes distantes em um passo: compara tudo com tudo.
# 2. Semelhança é um produto escalar, dividido por √d; a softmax faz dela partes de 1; o resultado é a soma
#    ponderada dos valores.
# 3. Uma linha da tabela mostra a atenção de um patch; uma coluna é o mapa de um token.
#
# **Para experimentar:** mude `step` para 0 ou para 11. As barras mudam no começo ou no fim da geração?
#
# A seguir: *Tipos de atenção*: cabeças, atenção entre palavras e atenção entre partes da imagem.
# %% [markdown] lang="en"
# ## What to take away
#
# 1. Attention connects distant parts in one step: it compares everything with everything.
# 2. Similarity is a dot product, divided by √d; the softmax makes it parts of 1; the result is the weighted
#    sum of the values.
# 3. A row of the table shows the attention of one patch; a column is the map of one token.
#
# **To try:** set `step` to 0 or to 11. Do the bars change at the beginning or at the end of generation?
#
# Next: *Kinds of attention*: heads, attention between words, and attention between parts of the image.
