"""What attention is, from queries, keys and values to `(palavra:1.2)`; `make.py` tells of the format."""
# ruff: noqa: E402

# %% [markdown] lang="pt"
# # O que é atenção?
#
# De consultas, chaves e valores até `(palavra:1.2)`, com os números de um modelo de verdade.
#
# Para quem encontra a atenção pela primeira vez. Não é preciso saber de redes neurais; basta saber que um
# **vetor** é uma lista de números. Tudo o que aparece abaixo é calculado aqui mesmo, em segundos, pelo modelo
# pequeno que vem com o promptweight: sem rede, sem placa de vídeo. Onde uma célula afirma algo, um `assert`
# confere.
# %% [markdown] lang="en"
# # What is attention?
#
# From queries, keys and values to `(palavra:1.2)`, with the numbers of a real model.
#
# For someone who meets attention for the first time. You need to know nothing of neural networks, only that
# a **vector** is a list of numbers. Everything below is computed right here, in seconds, by the small model
# that comes with promptweight: no network, no graphics card. Where a cell claims something, an `assert`
# checks it.
#
# The model reads Portuguese and English. Most prompts here are in Portuguese, because its word order (the
# colour after the thing) shows something that English hides.

# %%
import promptweight

pipe = promptweight.load("mini")

# %%
import torch
import torch.nn.functional as F
from PIL import ImageDraw

from promptweight.attention import Record, attach, read_text_attention
from promptweight.mini import scenes
from promptweight.render import enlarged, overlay, overlay_words, sheet

SEED, STEPS = 2, 12
prompt = "um gato vermelho persegue um rato cinza"
result = promptweight.generate(prompt, pipe, seed=SEED, num_inference_steps=STEPS)
enlarged(result.images[0], 256)

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
# *A red cat chases a grey mouse.* To draw this, things that are far apart must be brought together. *Cinza*
# (grey) is the mouse's colour, not the cat's. The one who *chases* is the cat, on the other side of the
# picture. And if the cat begins on the left, the mouse has to fit on the right.
#
# A network that looks at neighbours only (a **convolution**) spreads the news slowly. The model sees the
# picture as a grid of 16 × 16 patches. How many layers of neighbours does it take until one corner hears of
# the opposite corner, and how much of the news arrives?

# %%
news = torch.zeros(1, 1, 16, 16)
news[0, 0, 0, 0] = 1
neighbours = torch.full((1, 1, 3, 3), 1 / 9)

layers = 0
while news[0, 0, 15, 15] == 0:
    news = F.conv2d(news, neighbours, padding=1)
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
# The model computes them by multiplying with three learnt matrices: `to_q`, `to_k`, `to_v`. Let us listen
# to a real layer while it draws, and keep one step from the middle.

# %%
block = pipe.unet.up_blocks[2].attentions[0].transformer_blocks[0]
layer, self_layer = (
    block.attn2,
    block.attn1,
)  # the picture asks the text; the picture asks itself (section 12)
step = STEPS // 2


def listen(module, outputs):
    """Keeps what a matrix gives out, step by step; the last of the batch belongs to our prompt."""

    def keep(_module, _inputs, output):
        outputs.append(output[-1])

    return module.register_forward_hook(keep)


# where the cat is: the place where "gato vermelho" (red cat) gets most
y, x = divmod(int(result.maps.word("gato vermelho").tensor.argmax()), 64)
place = ((x + 0.5) / 64, (y + 0.5) / 64)
patch = y // 4 * 16 + x // 4

heard = {"to_q": [], "to_k": [], "to_v": []}
heard_itself = {"to_q": [], "to_k": []}
hooks = [listen(layer.get_submodule(name), outputs) for name, outputs in heard.items()]
hooks += [listen(self_layer.get_submodule(name), outputs) for name, outputs in heard_itself.items()]
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
    image = enlarged(image, 256)
    x, y = (int(part * 16) * 16 for part in place)
    ImageDraw.Draw(image).rectangle((x, y, x + 16, y + 16), outline="white", width=2)
    return image


marked(result.images[0], place)

# %% [markdown] lang="pt"
# ## 3. Semelhança: um produto escalar
#
# Quanto a pergunta do retalho tem a ver com a etiqueta da palavra? Multiplique número por número e some. É
# o **produto escalar**: grande quando os dois vetores apontam para o mesmo lado, zero quando não têm nada a
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

# %% [markdown] lang="pt"
# O mesmo para todas as palavras:
# %% [markdown] lang="en"
# The same for all words:


# %%
def bars(values, places=shown):
    """Prints a number and a bar for each place of the text."""
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
padding = float(probability[head, patch, words[-1] + 2 :].sum())
print(f"enchimento: {padding:.3f}, soma: {float(probability[head, patch].sum()):.3f}")  # pt
print(f"padding: {padding:.3f}, sum: {float(probability[head, patch].sum()):.3f}")  # en
assert torch.allclose(probability, logits.softmax(-1), atol=1e-6)

# %% [markdown] lang="pt"
# Os 77 lugares repartem 1 entre si. Repare quanto fica com o enchimento: muitas vezes o retalho não procura
# palavra nenhuma, e 1 tem de ir para algum lugar.
#
# É isto que o promptweight grava. Os números dele, tirados do modelo sem mudar nada na imagem, são os nossos:
# %% [markdown] lang="en"
# The 77 places share 1 among themselves. See how much the padding gets: often a patch is not looking for any
# word, and 1 has to go somewhere.
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
# Agora abrem-se as gavetas. O retalho recebe a mistura dos valores, cada um na sua parte:
# $o = \sum_j p_j v_j$. E isso é tudo: **atenção = semelhança, softmax, soma ponderada**. Em PyTorch é uma
# função só, e dá o mesmo.
# %% [markdown] lang="en"
# ## 6. Weighted sum: what the patch receives
#
# Now the drawers are opened. The patch receives the mixture of the values, each in its part:
# $o = \sum_j p_j v_j$. And that is all: **attention = similarity, softmax, weighted sum**. In PyTorch it is a
# single function, and it gives the same.

# %%
output = probability @ value  # (heads, 256, d)
print([round(number, 2) for number in output[head, patch].tolist()])
fused = F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
assert torch.allclose(output, fused, atol=1e-5)

# %% [markdown] lang="pt"
# ## 7. Uma coluna é um mapa
#
# Até aqui, um retalho e todas as palavras: uma linha da tabela. Vire a tabela: uma palavra e todos os 256
# retalhos. Essa coluna, posta na grade de 16 × 16, é um **mapa de atenção**: onde na imagem se pergunta por
# *vermelho*.
# %% [markdown] lang="en"
# ## 7. A column is a map
#
# So far, one patch and all words: a row of the table. Turn the table: one word and all 256 patches. That
# column, put on the grid of 16 × 16, is an **attention map**: where in the picture *vermelho* (red) is asked
# for.

# %%
red = [position for word in result.maps.words if word.text == "vermelho" for position in word.positions]
column = probability[:, :, red].sum(-1)  # (heads, 256)
map_of_red = column.mean(0).reshape(16, 16)
overlay(result.images[0], map_of_red, label="vermelho", upscale=256)

# %% [markdown] lang="pt"
# ## 8. Muitas cabeças
#
# Cada cabeça tem as suas próprias consultas, chaves e valores, e procura outra coisa. As mesmas cores querem
# dizer os mesmos números em todas:
# %% [markdown] lang="en"
# ## 8. Many heads
#
# Every head has queries, keys and values of its own, and looks for something else. The same colours mean the
# same numbers in all of them:

# %%
scale = (0.0, float(column.max()))
pictures = [
    overlay(result.images[0], column[number].reshape(16, 16), scale=scale, upscale=192)
    for number in range(layer.heads)
]
labels = [f"{number}: {float(column[number].mean()):.3f}" for number in range(layer.heads)]
sheet(pictures, labels, columns=layer.heads, title="vermelho", cell=192)

# %% [markdown] lang="pt"
# A camada junta as cabeças lado a lado e mistura tudo com uma última matriz. Há muitas camadas assim, e elas
# rodam a cada passo. O mapa de uma palavra que o promptweight mostra é a média das cabeças, das camadas e dos
# passos:
# %% [markdown] lang="en"
# The layer puts the heads side by side again and mixes everything with one last matrix. There are many such
# layers, and they run at every step. The map of a word that promptweight shows is the mean over heads, layers
# and steps:

# %%
for number in range(layer.heads):
    ours = this_layer.heads(number).word("vermelho").mass
    assert abs(ours - float(column[number].mean())) < 1e-5
assert abs(this_layer.word("vermelho").mass - float(column.mean())) < 1e-5

overlay(result.images[0], result.maps.word("vermelho"), label="vermelho", upscale=256)

# %% [markdown] lang="pt"
# ## 9. Antes da imagem: as palavras leem umas às outras
#
# De onde vêm as chaves das palavras? De um **codificador de texto**, que também é feito de atenção: cada
# palavra pergunta às outras palavras. No CLIP ele é **causal**: cada palavra só lê a si mesma e o que veio
# antes. Para isso soma-se uma **máscara** às semelhanças: 0 no passado, −∞ no futuro. Como $e^{-\infty} = 0$,
# o futuro recebe exatamente zero.
# %% [markdown] lang="en"
# ## 9. Before the picture: words read each other
#
# Where do the keys of the words come from? From a **text encoder**, which is made of attention too: every
# word asks the other words. In CLIP it is **causal**: each word reads only itself and what came before. For
# that a **mask** is added to the similarities: 0 for the past, −∞ for the future. Since $e^{-\infty} = 0$,
# the future gets exactly zero.

# %%
mask = torch.full((4, 4), -torch.inf).triu(1)
print(mask)
print((torch.zeros(4, 4) + mask).softmax(-1))  # all similarities alike: the past is shared evenly

# %% [markdown] lang="pt"
# E agora o codificador do modelo. Cada linha é uma palavra que lê; cada coluna, uma que é lida. O que falta
# para 1 vai para o começo do texto.
# %% [markdown] lang="en"
# And now the model's own encoder. Every row is a word that reads; every column, one that is read. What is
# missing from 1 goes to the beginning of the text.


# %%
def reading_table(prompt):
    """Who reads whom inside the text encoder, mean over its layers and heads."""
    read = read_text_attention(pipe, prompt)
    texts = [word.text for word in read.table.words]
    print(" " * 10 + "".join(f"{text:>10}" for text in texts))
    for text, row in zip(texts, read.words(), strict=True):
        print(f"{text:>10}" + "".join(f"{float(part):10.2f}" if part else f"{'·':>10}" for part in row))
    return texts, read.words()


texts, portuguese = reading_table(prompt)
assert torch.equal(portuguese, portuguese.tril())

# %% [markdown] lang="pt"
# Acima da diagonal, nada. Por isso a ordem das palavras importa: em português *gato* não pode ler *vermelho*,
# que vem depois; é *vermelho* que lê *gato*. Em inglês é o contrário: *cat* já leu *red*. **A última palavra
# de uma expressão é a que sabe dela toda**, e por isso vale perguntar pelo mapa de "gato vermelho", não só de
# "gato".
# %% [markdown] lang="en"
# Above the diagonal, nothing. That is why word order matters: in Portuguese *gato* (cat) cannot read
# *vermelho* (red), which comes later; it is *vermelho* that reads *gato*. In English it is the other way
# round: *cat* has read *red*. **The last word of a phrase is the one that knows all of it**, so it pays to
# ask for the map of "gato vermelho", not of "gato" alone.

# %%
_, english = reading_table("a red cat chases a grey mouse")
assert portuguese[texts.index("gato"), texts.index("vermelho")] == 0  # "gato" comes before "vermelho"
assert english[2, 1] > 0  # "cat" comes after "red"

# %% [markdown] lang="pt"
# ## 10. *Vermelho* liga-se a quem?
#
# Para responder com certeza precisamos saber onde o gato *realmente* está. Então desenhamos nós a cena: as
# máscaras do gato e do rato são conhecidas. Sujamos o desenho com ruído, damos ao modelo com a frase, e
# medimos quanta atenção cada palavra recebe, em média, dos retalhos do gato, do rato e do fundo.
# %% [markdown] lang="en"
# ## 10. What does *vermelho* bind to?
#
# To answer with certainty we must know where the cat *really* is. So we draw the scene ourselves: the masks
# of cat and mouse are known. We dirty the drawing with noise, give it to the model with the sentence, and
# measure how much attention every word gets, on average, from the patches of the cat, of the mouse and of
# the ground.


# %%
@torch.no_grad()
def look(scene, prompt, patches=(), timestep=400):
    """The picture, its masks, and the attention of one call of the model that sees it through noise."""
    picture, masks = scenes.render(scene)
    with attach(pipe, prompt, record=Record(patches=patches)) as session:
        latents = pipe.vae.encode(torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1)
        latents = latents.latent_dist.mode() * pipe.vae.config.scaling_factor
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        noisy = pipe.scheduler.add_noise(latents, noise, torch.tensor([timestep]))
        pipe.unet(noisy, timestep, encoder_hidden_states=session.inputs["prompt_embeds"])
    return pipe.image_processor.numpy_to_pil(picture / 255)[0], torch.from_numpy(masks) > 0.5, session.maps


def attention_on(maps, regions):
    """Prints, and returns by word, the mean attention in each region."""
    print(" " * 12 + "".join(f"{name:>12}" for name in regions))
    found = {}
    for word in maps.words:
        found[word.text] = {
            name: float(maps.word(word.text).tensor[region].mean()) for name, region in regions.items()
        }
        print(f"{word.text:>12}" + "".join(f"{part:12.3f}" for part in found[word.text].values()))
    return found


chase = scenes.Scene(
    (scenes.Thing("cat", "red", 4, 20, 24), scenes.Thing("mouse", "grey", 36, 20, 24)), relation="chase"
)
drawn, (cat, mouse), maps = look(chase, prompt)
found = attention_on(maps, {"cat": cat, "mouse": mouse, "ground": ~(cat | mouse)})
assert found["vermelho"]["cat"] > found["vermelho"]["mouse"]
assert found["cinza"]["mouse"] > found["cinza"]["cat"]
overlay_words(drawn, [maps.word(word) for word in ("vermelho", "cinza")], ["vermelho", "cinza"], upscale=256)

# %% [markdown] lang="pt"
# *Vermelho* ligou-se ao gato e *cinza* ao rato: as palavras de cor buscam o seu lugar. Olhe também a linha de
# *gato*: o substantivo sozinho diz menos, porque não pôde ler a sua cor.
#
# ## 11. Um astronauta a cavalo
#
# Duas coisas que se tocam, e nenhuma cor que ajude. Primeiro o modelo desenha; depois medimos na cena cujas
# máscaras conhecemos.
# %% [markdown] lang="en"
# *Vermelho* (red) is bound to the cat and *cinza* (grey) to the mouse: the colour words seek their place.
# Look at the row of *gato* as well: the noun alone says less, because it could not read its colour.
#
# ## 11. *Um astronauta a cavalo*: an astronaut on horseback
#
# Two things that touch, and no colour to help. First the model draws; then we measure on the scene whose
# masks we know.

# %%
riding = "um astronauta a cavalo"
ridden = promptweight.generate(riding, pipe, seed=0, num_inference_steps=STEPS)
ride = scenes.Scene(
    (scenes.Thing("astronaut", "blue", 16, 12, 24), scenes.Thing("horse", "white", 12, 20, 40)),
    relation="ride",
)
drawn, (astronaut, horse), maps = look(ride, riding)
found = attention_on(maps, {"astronaut": astronaut, "horse": horse})
assert found["astronauta"]["astronaut"] > found["astronauta"]["horse"]
assert found["cavalo"]["horse"] > found["cavalo"]["astronaut"]

pictures = [enlarged(ridden.images[0], 192)]
pictures += [
    overlay(ridden.images[0], ridden.maps.word(word), upscale=192) for word in ("astronauta", "cavalo")
]
sheet(pictures, [riding, "astronauta", "cavalo"], columns=3, cell=192)

# %% [markdown] lang="pt"
# ## 12. Atenção própria, cruzada e conjunta
#
# A conta é sempre a mesma. Só muda de onde vêm as consultas e as chaves:
#
# | | consultas de | chaves e valores de | onde |
# |---|---|---|---|
# | **própria** (*self*) | imagem | imagem | Stable Diffusion 1, 2, XL; e o `mini` |
# | **cruzada** (*cross*) | imagem | texto | as mesmas; os mapas de palavras vêm daqui |
# | **conjunta** (*joint*) | os dois juntos | os dois juntos | Stable Diffusion 3, FLUX |
#
# ### Própria: um gato e o seu reflexo na água
#
# O reflexo tem de combinar com o gato, longe dele na imagem. Perguntamos a um retalho *no reflexo* para onde
# olha.
# %% [markdown] lang="en"
# ## 12. Self-, cross- and joint attention
#
# The arithmetic is always the same. Only where queries and keys come from changes:
#
# | | queries from | keys and values from | where |
# |---|---|---|---|
# | **self** | picture | picture | Stable Diffusion 1, 2, XL; and `mini` |
# | **cross** | picture | text | the same; the maps of words come from here |
# | **joint** | both together | both together | Stable Diffusion 3, FLUX |
#
# ### Self: a cat and its reflection in the water
#
# The reflection must match the cat, far from it in the picture. We ask a patch *in the reflection* where it
# looks.

# %%
mirror = scenes.Scene((scenes.Thing("cat", "black", 20, 8, 24),), relation="mirror")
place = (0.5, 0.7)
drawn, (cat,), maps = look(mirror, "um gato preto e seu reflexo na água", patches=(place,))
reflection = torch.from_numpy(scenes.reflection_mask(mirror)) > 0.5
water = torch.zeros_like(cat)
water[scenes.WATERLINE + 1 :] = True

heat = maps.layers("16x16").lift().patch(0)
regions = {"cat": cat, "reflection": reflection, "water": water & ~reflection, "ground": ~water & ~cat}
looks = {name: float(heat.tensor[region].mean()) for name, region in regions.items()}
for name, part in looks.items():
    print(f"{name:>12} {part:5.2f} ×")
assert looks["cat"] > looks["water"]
assert looks["reflection"] > looks["water"]
sheet([marked(drawn, place), overlay(drawn, heat, upscale=256)], columns=2, cell=256)

# %% [markdown] lang="pt"
# Os números são múltiplos da média da imagem. O retalho do reflexo olha para o reflexo **e para o gato**,
# mais do que para a água ao seu redor. Uma convolução não faria isso em uma camada.
#
# ### Conjunta: palavras e retalhos disputam o mesmo 1
#
# No Stable Diffusion 3 e no FLUX, as palavras e os retalhos entram numa lista só, e uma softmax só reparte
# 1 entre todos. O `mini` pergunta em duas camadas, primeiro à imagem, depois ao texto. Para ver a conta,
# tomamos as semelhanças do nosso retalho do gato nas duas, pomos numa lista só e repartimos 1 entre todas.
# %% [markdown] lang="en"
# The numbers are multiples of the picture's mean. The patch in the reflection looks at the reflection **and
# at the cat**, more than at the water around it. A convolution could not do that in one layer.
#
# ### Joint: words and patches compete for the same 1
#
# In Stable Diffusion 3 and FLUX, words and patches are put in one list, and one softmax shares 1 among all of
# them. `mini` asks in two layers, first the picture, then the text. To see the arithmetic we take our cat
# patch's similarities from both, put them in one list and share 1 among all.

# %%
to_text = logits[head, patch]  # 77 places of the text
own_query, own_key = (split(outputs[step]) for outputs in heard_itself.values())
to_image = own_key[head] @ own_query[head, patch] / d**0.5  # 256 patches of the picture
joint = torch.cat([to_text, to_image]).softmax(-1)
text_part, image_part = float(joint[:77].sum()), float(joint[77:].sum())
print(f"texto {text_part:.3f} + imagem {image_part:.3f} = {text_part + image_part:.3f}")  # pt
print(f"text {text_part:.3f} + picture {image_part:.3f} = {text_part + image_part:.3f}")  # en
assert (joint[:77] <= probability[head, patch] + 1e-6).all()
assert torch.allclose(joint[:77] / joint[:77].sum(), probability[head, patch], atol=1e-5)
assert torch.allclose(joint[77:] / joint[77:].sum(), to_image.softmax(-1), atol=1e-5)

# %% [markdown] lang="pt"
# Cada palavra recebe menos do que na atenção cruzada, porque a imagem leva a sua parte; mas *entre si* as
# palavras repartem como antes. Por isso, para comparar mapas de modelos diferentes, o promptweight oferece
# `maps.share()` e `maps.lift()`.
#
# ## 13. Enfim: `(palavra:1.2)`
#
# Como dar mais peso a uma palavra? Multiplique o seu $e^{s}$ por $w$ **antes** de dividir pela soma. É o
# mesmo que somar $\log w$ à semelhança:
#
# $$p'_j = \frac{w\,e^{s_j}}{w\,e^{s_j} + \sum_{i \ne j} e^{s_i}} = \frac{w\,p_j}{1 + (w - 1)\,p_j}$$
#
# Peso 1 não muda nada, peso 0 apaga a palavra, e a soma continua 1: o que uma ganha as outras cedem.
# %% [markdown] lang="en"
# Every word gets less than in cross-attention, because the picture takes its part; but *among themselves* the
# words share as before. That is why, to compare maps of different models, promptweight offers `maps.share()`
# and `maps.lift()`.
#
# ## 13. At last: `(palavra:1.2)`
#
# How do you give a word more weight? Multiply its $e^{s}$ by $w$ **before** dividing by the sum. It is the
# same as adding $\log w$ to the similarity:
#
# $$p'_j = \frac{w\,e^{s_j}}{w\,e^{s_j} + \sum_{i \ne j} e^{s_i}} = \frac{w\,p_j}{1 + (w - 1)\,p_j}$$
#
# Weight 1 changes nothing, weight 0 erases the word, and the sum stays 1: what one gains the others give up.

# %%
before = probability[head, patch, red].sum()
print("     w      p'")
for w in (0, 0.5, 1, 1.2, 2, 4):
    biased = logits[head, patch].clone()
    biased[red] += torch.tensor(float(w)).log()
    after = biased.softmax(-1)[red].sum()
    assert torch.isclose(after, w * before / (1 + (w - 1) * before), atol=1e-6)
    print(f"{w:6} {float(after):7.4f}")

# %% [markdown] lang="pt"
# O promptweight faz exatamente isso dentro do modelo, em todas as camadas cruzadas, com
# `space="attention"`. Conferimos na primeira camada do primeiro passo, onde tudo o mais ainda é igual:
# %% [markdown] lang="en"
# promptweight does exactly this inside the model, in every cross-attention layer, with `space="attention"`.
# We check it in the first layer of the first step, where everything else is still the same:


# %%
def first_step(red):
    """The maps of the first layer and step, where the word for red is written as given."""
    weighted = promptweight.generate(
        f"um gato {red} persegue um rato cinza",
        pipe,
        seed=SEED,
        num_inference_steps=2,
        space="attention",
        record=Record(steps="keep", heads="keep", layers=("down_blocks",), patches=(place,)),
    )
    return weighted.maps.steps(0, 1)


plain, weighted = first_step("vermelho"), first_step("(vermelho:1.2)")
w = 1.2
for number in range(layer.heads):
    p = plain.heads(number).row(0).word("vermelho")
    row = weighted.heads(number).row(0)
    print(f"{p:.6f} → {row.word('vermelho'):.6f}")
    assert abs(row.word("vermelho") - w * p / (1 + (w - 1) * p)) < 1e-6
    assert abs(row.total - 1) < 1e-5

# %% [markdown] lang="pt"
# E na imagem? A mesma semente, só o peso do rato muda:
# %% [markdown] lang="en"
# And in the picture? The same seed, only the weight of the mouse changes:

# %%
weights = (0, 0.5, 1, 1.2, 2)
images = []
for w in weights:
    weighted = f"um gato vermelho persegue um (rato cinza:{w})"
    made = promptweight.generate(
        weighted, pipe, seed=SEED, num_inference_steps=STEPS, space="attention", record=False
    )
    images.append(made.images[0])
assert images[2].tobytes() == result.images[0].tobytes()  # weight 1 is no weight at all
sheet([enlarged(image, 160) for image in images], [f"(rato cinza:{w})" for w in weights], columns=5, cell=160)

# %% [markdown] lang="pt"
# ## O que levar daqui
#
# 1. Atenção é semelhança (produto escalar), softmax e soma ponderada. Liga o que está longe em um passo.
# 2. Uma linha diz o que um retalho procura; uma coluna é o mapa de uma palavra.
# 3. Palavras leem só para trás: pergunte pela expressão inteira.
# 4. Um peso soma $\log w$ à semelhança; todas as partes continuam somando 1.
#
# **Para experimentar:** troque as cores na frase da seção 10 sem mudar o desenho: *vermelho* segue a frase
# ou a cor? Ponha o retalho da seção 12 na água limpa. Aumente o peso na seção 13 até a imagem quebrar.
#
# A seguir: *Qual ponderação usar?* e *Ler mapas de atenção com honestidade*, nesta pasta.
# %% [markdown] lang="en"
# ## What to take away
#
# 1. Attention is similarity (a dot product), softmax and a weighted sum. It joins what is far apart in one
#    step.
# 2. A row tells what a patch looks for; a column is the map of a word.
# 3. Words read backwards only: ask for the whole phrase.
# 4. A weight adds $\log w$ to the similarity; all parts still sum to 1.
#
# **To try:** swap the colours in the sentence of section 10 without changing the drawing: does *vermelho*
# follow the sentence or the colour? Put the patch of section 12 in clear water. Raise the weight in section
# 13 until the picture breaks.
#
# Next: *Which weighting should I use?* and *Reading attention maps honestly*, in this folder.
