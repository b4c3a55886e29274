"""Who looks at whom: heads, the causal mask, cross-, self- and joint attention (format: see `make.py`)."""
# ruff: noqa: E402

# %% [markdown] lang="pt"
# # Quem olha para quem?
#
# Muitas cabeças, palavras que leem palavras, e atenção cruzada, própria e conjunta. O segundo de três
# cadernos; antes deste vem *O que é atenção?*, que explica consulta, chave, valor e softmax.
# %% [markdown] lang="en"
# # Who looks at whom?
#
# Many heads, words that read words, and cross-, self- and joint attention. The second of three notebooks;
# before it comes *What is attention?*, which explains query, key, value and softmax.

# %%
import promptweight

pipe = promptweight.load("mini")

# %%
import torch
from PIL import ImageDraw

from promptweight.attention import Record
from promptweight.conditioning import record_text_attention
from promptweight.evaluation import look_at
from promptweight.mini import scenes
from promptweight.render import contact_sheet, enlarge, overlay, overlay_words

SEED, STEPS = 2, 12
prompt = "um gato vermelho persegue um rato cinza"
result = promptweight.generate(
    prompt, pipe, seed=SEED, num_inference_steps=STEPS, record=Record(heads="keep")
)
enlarge(result.images[0], 256)

# %% [markdown] lang="pt"
# ## 1. Muitas cabeças
#
# Uma camada faz a conta várias vezes lado a lado, com consultas, chaves e valores próprios: são as suas
# **cabeças**. Cada uma procura outra coisa. Aqui, o mapa de *vermelho* em cada cabeça de uma camada; as
# mesmas cores querem dizer os mesmos números.
# %% [markdown] lang="en"
# ## 1. Many heads
#
# A layer does the sum several times side by side, each time with queries, keys and values of its own: these
# are its **heads**. Each looks for something else. Here the map of *vermelho* (red) in each head of one
# layer; the same colors mean the same numbers.

# %%
layer = result.maps.layers("up_blocks.2.attentions.0")
heads = pipe.unet.up_blocks[2].attentions[0].transformer_blocks[0].attn2.heads
by_head = [layer.heads(number).word("vermelho") for number in range(heads)]
scale = (0.0, max(float(heat.tensor.max()) for heat in by_head))
contact_sheet(
    [overlay(result.images[0], heat, scale=scale, upscale=192) for heat in by_head],
    [f"{number}: {heat.mass:.3f}" for number, heat in enumerate(by_head)],
    columns=heads,
    title="vermelho",
    cell=192,
)

# %% [markdown] lang="pt"
# A camada junta as cabeças e mistura tudo com uma última matriz. Há muitas camadas assim, e elas rodam a cada
# passo. O mapa que o promptweight mostra de uma palavra é a média das cabeças, das camadas e dos passos:
# %% [markdown] lang="en"
# The layer puts the heads together and mixes everything with one last matrix. There are many such layers, and
# they run at every step. The map of a word that promptweight shows is the mean over heads, layers and steps:

# %%
mean = torch.stack([heat.tensor for heat in by_head]).mean(0)
assert torch.allclose(mean, layer.word("vermelho").tensor, atol=1e-5)
overlay(result.images[0], result.maps.word("vermelho"), label="vermelho", upscale=256)

# %% [markdown] lang="pt"
# ## 2. Antes da imagem: as palavras leem umas às outras
#
# De onde vêm as chaves das palavras? De um **codificador de texto**, que também é feito de atenção: cada
# palavra pergunta às outras palavras. No CLIP ele é **causal**: cada palavra só lê a si mesma e o que veio
# antes. Para isso soma-se uma **máscara** às semelhanças: 0 no passado, −∞ no futuro. Como $e^{-\infty} = 0$,
# o futuro recebe exatamente zero.
# %% [markdown] lang="en"
# ## 2. Before the picture: words read each other
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
    read = record_text_attention(pipe, prompt)
    texts = [word.text for word in read.table.words]
    print(" " * 10 + "".join(f"{text:>10}" for text in texts))
    for text, row in zip(texts, read.words(), strict=True):
        print(f"{text:>10}" + "".join(f"{float(part):10.2f}" if part else f"{'·':>10}" for part in row))
    return texts, read.words()


texts, portuguese = reading_table(prompt)
assert torch.equal(portuguese, portuguese.tril())
_, english = reading_table("a red cat chases a gray mouse")
assert portuguese[texts.index("gato"), texts.index("vermelho")] == 0  # "gato" comes before "vermelho"
assert english[2, 1] > 0  # "cat" comes after "red"

# %% [markdown] lang="pt"
# Acima da diagonal, nada. Por isso a ordem das palavras importa: em português *gato* não pode ler *vermelho*,
# que vem depois; é *vermelho* que lê *gato*. Em inglês é o contrário: *cat* já leu *red*. **A última palavra
# de uma expressão é a que sabe dela toda**, e por isso vale perguntar pelo mapa de "gato vermelho", não só de
# "gato".
#
# ## 3. Própria, cruzada, conjunta
#
# A conta é sempre a mesma. Só muda de onde vêm as consultas e as chaves:
#
# | | consultas de | chaves e valores de | onde |
# |---|---|---|---|
# | **própria** (*self*) | texto | texto | nos codificadores de texto: seção 2 |
# | | imagem | imagem | Stable Diffusion 1, 2, XL; e o `mini` |
# | **cruzada** (*cross*) | imagem | texto | os mesmos; os mapas de palavras vêm daqui |
# | **conjunta** (*joint*) | os dois juntos | os dois juntos | Stable Diffusion 3, FLUX; e o `mini-dit` |
#
# ### Cruzada: *vermelho* liga-se a quem?
#
# Para responder com certeza precisamos saber onde o gato *realmente* está. Então desenhamos nós a cena: as
# máscaras do gato e do rato são conhecidas. Sujamos o desenho com ruído, damos ao modelo com a frase, e
# medimos quanta atenção cada palavra recebe, em média, dos retalhos do gato, do rato e do fundo.
# %% [markdown] lang="en"
# Above the diagonal, nothing. That is why word order matters: in Portuguese *gato* (cat) cannot read
# *vermelho* (red), which comes later; it is *vermelho* that reads *gato*. In English it is the other way
# round: *cat* has read *red*. **The last word of a phrase is the one that knows all of it**, so it pays to
# ask for the map of "gato vermelho", not of "gato" alone.
#
# ## 3. Self-, cross- and joint attention
#
# The arithmetic is always the same. Only where queries and keys come from changes:
#
# | | queries from | keys and values from | where |
# |---|---|---|---|
# | **self** | text | text | in the text encoders: section 2 |
# | | picture | picture | Stable Diffusion 1, 2, XL; and `mini` |
# | **cross** | picture | text | the same; the maps of words come from here |
# | **joint** | both together | both together | Stable Diffusion 3, FLUX; and `mini-dit` |
#
# ### Cross: what does *vermelho* (red) bind to?
#
# To answer with certainty we must know where the cat *really* is. So we draw the scene ourselves: the masks
# of cat and mouse are known. We dirty the drawing with noise, give it to the model with the sentence, and
# measure how much attention every word gets, on average, from the patches of the cat, of the mouse and of the
# ground.


# %%
def attention_on(maps, regions):
    """Print, and returns by word, the mean attention in each region."""
    print(" " * 12 + "".join(f"{name:>12}" for name in regions))
    found = {}
    for word in maps.words:
        heat = maps.word(word.text, word.occurrence).tensor
        found[word.text] = {name: float(heat[region].mean()) for name, region in regions.items()}
        print(f"{word.text:>12}" + "".join(f"{part:12.3f}" for part in found[word.text].values()))
    return found


def drawn(scene):
    """The scene without noise."""
    return scenes.to_image(scenes.render(scene)[0])


chase = scenes.Scene(
    (scenes.Thing("cat", "red", 4, 20, 24), scenes.Thing("mouse", "gray", 36, 20, 24)), relation="chase"
)
(cat, mouse), maps = look_at(pipe, chase, prompt)
chased = {"cat": cat, "mouse": mouse, "ground": ~(cat | mouse)}
found = attention_on(maps, chased)
assert found["vermelho"]["cat"] > found["vermelho"]["mouse"]
assert found["cinza"]["mouse"] > found["cinza"]["cat"]
colors = ["vermelho", "cinza"]
overlay_words(drawn(chase), [maps.word(word) for word in colors], colors, upscale=256)

# %% [markdown] lang="pt"
# *Vermelho* ligou-se ao gato e *cinza* ao rato. Olhe também a linha de *gato*: o substantivo sozinho diz
# menos, porque não pôde ler a sua cor. E duas coisas que se tocam, quando o modelo mesmo desenha? **Um
# astronauta a cavalo:**
# %% [markdown] lang="en"
# *Vermelho* (red) is bound to the cat and *cinza* (gray) to the mouse. Look at the row of *gato* (cat) as
# well: the noun alone says less, because it could not read its color. And two things that touch, when the
# model itself draws? **An astronaut on horseback:**

# %%
riding = "um astronauta a cavalo"
ridden = promptweight.generate(riding, pipe, seed=0, num_inference_steps=STEPS)
ride = scenes.Scene(
    (scenes.Thing("astronaut", "blue", 16, 12, 24), scenes.Thing("horse", "white", 12, 20, 40)),
    relation="ride",
)
for said in (riding, "um astronauta azul a cavalo branco"):
    (astronaut, horse), maps = look_at(pipe, ride, said)
    found = attention_on(maps, {"astronaut": astronaut, "horse": horse})
    print()
assert found["azul"]["astronaut"] > 2 * found["azul"]["horse"]
assert found["branco"]["horse"] > 2 * found["branco"]["astronaut"]
riders = ["astronauta", "cavalo"]
pictures = [overlay(ridden.images[0], ridden.maps.word(word), upscale=192) for word in riders]
contact_sheet([enlarge(ridden.images[0], 192), *pictures], [riding, *riders], columns=3, cell=192)

# %% [markdown] lang="pt"
# Na cena que desenhamos, sem cores, *cavalo* olha tanto para o cavaleiro quanto para o cavalo: as duas coisas
# se tocam, e a palavra já leu *astronauta*. Com cores, *azul* e *branco* (a última palavra de cada expressão)
# separam os dois. Um mapa não é um contorno.
#
# ### Própria: um gato e o seu reflexo na água
#
# O reflexo tem de combinar com o gato, longe dele na imagem. Perguntamos a um retalho *no reflexo* para onde
# olha. Os números são múltiplos da média da imagem.
# %% [markdown] lang="en"
# In the scene that we drew, without colors, *cavalo* (horse) looks at the rider as much as at the horse: the
# two things touch, and the word has read *astronauta*. With colors, *azul* (blue) and *branco* (white), the
# last word of each phrase, tell them apart. A map is no outline.
#
# ### Self: a cat and its reflection in the water
#
# The reflection must match the cat, far from it in the picture. We ask a patch *in the reflection* where it
# looks. The numbers are multiples of the picture's mean.


# %%
def marked(image, place):
    """The picture with a square round a patch."""
    image = enlarge(image, 256)
    x, y = (int(part * 16) * 16 for part in place)
    ImageDraw.Draw(image).rectangle((x, y, x + 16, y + 16), outline="white", width=2)
    return image


mirror = scenes.Scene((scenes.Thing("cat", "black", 20, 8, 24),), relation="mirror")
place = (0.5, 0.7)
(cat,), maps = look_at(pipe, mirror, "um gato preto e seu reflexo na água", record=Record(patches=(place,)))
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
contact_sheet([marked(drawn(mirror), place), overlay(drawn(mirror), heat, upscale=256)], columns=2, cell=256)

# %% [markdown] lang="pt"
# O retalho olha para o reflexo **e para o gato**, mais do que para a água ao seu redor.
#
# ### Conjunta: palavras e retalhos disputam o mesmo 1
#
# No Stable Diffusion 3 e no FLUX, palavras e retalhos entram numa lista só, e uma softmax só reparte 1 entre
# todos. O `mini-dit` é um modelo desses. Escutamos uma camada sua e fazemos a conta de um retalho, no gato.
# %% [markdown] lang="en"
# The patch looks at the reflection **and at the cat**, more than at the water around it.
#
# ### Joint: words and patches compete for the same 1
#
# In Stable Diffusion 3 and FLUX, words and patches are put in one list, and one softmax shares 1 among all of
# them. `mini-dit` is such a model. We listen to a layer of it and do the sum for one patch, on the cat.

# %%
joint_pipe = promptweight.load("mini-dit")
joint_layer = joint_pipe.transformer.transformer_blocks[3].attn
heard = {}
hooks = [
    joint_layer.get_submodule(name).register_forward_hook(
        lambda _module, _inputs, output, name=name: heard.update({name: output[0]})
    )
    for name in ("norm_q", "norm_k", "norm_added_k")
]
place = (0.25, 0.55)
record = Record(heads="keep", patches=(place,))
(cat, mouse), maps = look_at(joint_pipe, chase, prompt, record=record)
for hook in hooks:
    hook.remove()

query, image_keys, text_keys = heard.values()  # (heads, 256 patches or the places of the text, d)
column, row = (int(part * 16) for part in place)
keys = torch.cat([image_keys, text_keys], dim=1)
logits = keys @ query[:, 16 * row + column, :, None] / query.shape[-1] ** 0.5
joint = logits[..., 0].softmax(-1)
image_part, text_part = joint[:, : image_keys.shape[1]], joint[:, image_keys.shape[1] :]

in_layer = maps.layers("transformer_blocks.3")
for head in range(len(joint)):
    row = in_layer.heads(head).row(0)
    words = sum(part for _, part in row.words)
    pictured, said = float(image_part[head].sum()), float(text_part[head].sum())
    print(f"imagem {pictured:.3f} + texto {said:.3f} = {pictured + said:.3f}; palavras {words:.3f}")  # pt
    print(f"picture {pictured:.3f} + text {said:.3f} = {pictured + said:.3f}; words {words:.3f}")  # en
    assert torch.allclose(row.tensor, text_part[head], atol=1e-5)

# %% [markdown] lang="pt"
# O que no texto não é palavra é começo, fim e enchimento. Cada palavra recebe menos do que na atenção
# cruzada, porque a imagem leva a sua parte. Para comparar modelos, o promptweight dá `maps.share()` (parte
# entre as palavras) e `maps.lift()` (múltiplo da média). E *vermelho*, liga-se ao gato aqui também?
# %% [markdown] lang="en"
# What of the text is no word is beginning, end and padding. Every word gets less than in cross-attention,
# because the picture takes its part. To compare models, promptweight gives `maps.share()` (the part among the
# words) and `maps.lift()` (a multiple of the mean). And *vermelho*, is it bound to the cat here too?

# %%
found = attention_on(maps.lift(), chased)
assert found["vermelho"]["cat"] > found["vermelho"]["mouse"]
overlay_words(drawn(chase), [maps.word(word) for word in colors], colors, upscale=256)

# %% [markdown] lang="pt"
# ## O que levar daqui
#
# 1. Cada cabeça procura outra coisa; um mapa é uma média de cabeças, camadas e passos.
# 2. No CLIP as palavras leem só para trás: pergunte pela expressão inteira.
# 3. Própria, cruzada, conjunta: a mesma conta; o que muda é quem reparte 1 com quem.
#
# **Para experimentar:** troque as cores na frase sem mudar o desenho: *vermelho* segue a frase ou a cor?
# Ponha o retalho do reflexo na água limpa.
#
# A seguir: *O peso de uma palavra*.
# %% [markdown] lang="en"
# ## What to take away
#
# 1. Every head looks for something else; a map is a mean over heads, layers and steps.
# 2. In CLIP words read backwards only: ask for the whole phrase.
# 3. Self, cross, joint: the same sum; what changes is who shares 1 with whom.
#
# **To try:** swap the colors in the sentence without changing the drawing: does *vermelho* follow the
# sentence or the color? Put the patch of the reflection in clear water.
#
# Next: *The weight of a word*.
