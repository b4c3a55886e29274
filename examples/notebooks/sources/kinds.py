"""Kinds of attention: heads, the causal mask, cross-, self- and joint attention (format: see `make.py`)."""
# ruff: noqa: E402

# %% [markdown] lang="pt"
# # Tipos de atenção
#
# Cabeças, a máscara causal do codificador de texto, e atenção própria, cruzada e conjunta. O segundo de três
# cadernos; antes deste vem *O que é atenção?*, que explica consulta, chave, valor e softmax.
# %% [markdown] lang="en"
# # Kinds of attention
#
# Heads, the causal mask of the text encoder, and self-, cross- and joint attention. The second of three
# notebooks; before it comes *What is attention?*, which explains query, key, value and softmax.

# %%
import promptweight

pipe = promptweight.load("mini")

# %%
import torch
from PIL import ImageDraw

from promptweight.attention import Record
from promptweight.conditioning import record_text_attention
from promptweight.evaluation import record_scene
from promptweight.mini import scenes
from promptweight.render import contact_sheet, enlarge, overlay, overlay_words

SEED, STEPS = 2, 12
prompt = "um gato vermelho persegue um rato cinza"
result = promptweight.generate(
    pipe, prompt, seed=SEED, num_inference_steps=STEPS, record=Record(heads="keep")
)
enlarge(result.images[0], 256)

# %% [markdown] lang="pt"
# ## 1. Muitas cabeças
#
# Uma camada faz a conta várias vezes lado a lado, cada vez com outras consultas, chaves e valores: são as
# suas **cabeças**. Cada uma aprende outra relação. Aqui está o mapa de *vermelho* em cada cabeça de uma
# camada, na mesma escala de cores.
# %% [markdown] lang="en"
# ## 1. Many heads
#
# A layer does the computation several times side by side, each time with other queries, keys and values:
# these are its **heads**. Each learns another relation. Here is the map of *vermelho* (red) in each head of
# one layer, on the same color scale.

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
# A camada concatena as cabeças e as combina com uma última matriz. Há muitas camadas assim, e elas rodam a
# cada passo. O mapa de uma palavra no promptweight é a média das cabeças, das camadas e dos passos:
# %% [markdown] lang="en"
# The layer concatenates the heads and combines them with one last matrix. There are many such layers, and
# they run at every step. The map of a word in promptweight is the mean over heads, layers and steps:

# %%
mean = torch.stack([heat.tensor for heat in by_head]).mean(0)
assert torch.allclose(mean, layer.word("vermelho").tensor, atol=1e-5)
overlay(result.images[0], result.maps.word("vermelho"), label="vermelho", upscale=256)

# %% [markdown] lang="pt"
# ## 2. Antes da imagem: atenção entre palavras
#
# As chaves das palavras vêm de um **codificador de texto**, que também é feito de atenção: cada token do
# texto é comparado com os outros tokens. No CLIP ela é **causal**: cada token recebe só de si mesmo e dos
# anteriores. Para isso soma-se uma **máscara** às semelhanças: 0 para os anteriores, −∞ para os seguintes.
# Como $e^{-\infty} = 0$, os seguintes recebem exatamente zero.
# %% [markdown] lang="en"
# ## 2. Before the image: attention between words
#
# The keys of the words come from a **text encoder**, which is made of attention too: every text token is
# compared with the other tokens. In CLIP it is **causal**: each token receives from itself and from earlier
# tokens only. A **mask** is added to the similarities: 0 for earlier tokens, −∞ for later ones. Since
# $e^{-\infty} = 0$, later tokens get exactly zero.

# %%
mask = torch.full((4, 4), -torch.inf).triu(1)
print(mask)
print((torch.zeros(4, 4) + mask).softmax(-1))  # equal similarities: earlier tokens get equal parts

# %% [markdown] lang="pt"
# E agora o codificador do modelo. Cada linha é a atenção de uma palavra; cada coluna, a palavra que a recebe.
# O que falta para 1 vai para o token de início.
# %% [markdown] lang="en"
# And now the model's own encoder. Every row is the attention of one word; every column, the word that
# receives it. The rest, up to 1, goes to the beginning token.


# %%
def print_text_attention(prompt):
    """Print the attention between words in the text encoder, mean over its layers and heads."""
    recorded = record_text_attention(pipe, prompt)
    texts = [word.text for word in recorded.table.words]
    print(" " * 10 + "".join(f"{text:>10}" for text in texts))
    for text, row in zip(texts, recorded.words(), strict=True):
        print(f"{text:>10}" + "".join(f"{float(part):10.2f}" if part else f"{'·':>10}" for part in row))
    return texts, recorded.words()


texts, portuguese = print_text_attention(prompt)
assert torch.equal(portuguese, portuguese.tril())
_, english = print_text_attention("a red cat chases a grey mouse")
assert portuguese[texts.index("gato"), texts.index("vermelho")] == 0  # "gato" comes before "vermelho"
assert english[2, 1] > 0  # "cat" comes after "red"

# %% [markdown] lang="pt"
# Acima da diagonal, nada. Por isso a ordem das palavras importa: em português, *gato* não recebe nada de
# *vermelho*, que vem depois; *vermelho* é que recebe de *gato*. Em inglês é o contrário: *cat* recebe de
# *red*. **A última palavra de uma expressão contém informação de toda ela**, e por isso é melhor usar o mapa
# de "gato vermelho" que o de "gato".
#
# ## 3. Própria, cruzada, conjunta
#
# A conta é sempre a mesma. Só muda a origem das consultas e das chaves:
#
# | | consultas de | chaves e valores de | onde |
# |---|---|---|---|
# | **própria** (*self*) | texto | texto | nos codificadores de texto: seção 2 |
# | | imagem | imagem | Stable Diffusion 1, 2, XL; e o `mini` |
# | **cruzada** (*cross*) | imagem | texto | os mesmos; os mapas de palavras vêm daqui |
# | **conjunta** (*joint*) | os dois juntos | os dois juntos | Stable Diffusion 3, FLUX; e o `mini-dit` |
#
# ### Cruzada: a que objeto *vermelho* se liga?
#
# Para medir isso é preciso conhecer a posição do gato. Por isso desenhamos a cena: assim as máscaras do gato
# e do rato são conhecidas. O modelo recebe o desenho com ruído, e a frase. Medimos quanta atenção cada
# palavra recebe, em média, dos patches do gato, do rato e do fundo.
# %% [markdown] lang="en"
# Above the diagonal, nothing. So word order matters: in Portuguese, *gato* (cat) receives nothing from
# *vermelho* (red), which comes later; *vermelho* receives from *gato*. In English it is the other way around:
# *cat* receives from *red*. **The last word of a phrase contains information from all of it**, so the map of
# "gato vermelho" is better than that of "gato" alone.
#
# ## 3. Self-, cross- and joint attention
#
# The computation is always the same. Only the origin of queries and keys changes:
#
# | | queries from | keys and values from | where |
# |---|---|---|---|
# | **self** | text | text | in the text encoders: section 2 |
# | | image | image | Stable Diffusion 1, 2, XL; and `mini` |
# | **cross** | image | text | the same; the maps of words come from here |
# | **joint** | both together | both together | Stable Diffusion 3, FLUX; and `mini-dit` |
#
# ### Cross: which object does *vermelho* (red) bind to?
#
# To measure this, the position of the cat must be known. So we draw the scene ourselves: then the masks of
# cat and mouse are known. The model gets the drawing with noise, and the sentence. We measure how much
# attention every word receives, on average, from the patches of the cat, of the mouse and of the background.


# %%
def attention_on(maps, regions):
    """Print the mean attention of every word in each region, and return it by word."""
    print(" " * 12 + "".join(f"{name:>12}" for name in regions))
    means = {}
    for word in maps.words:
        heat = maps.word(word.text, word.occurrence).tensor
        means[word.text] = {name: float(heat[region].mean()) for name, region in regions.items()}
        print(f"{word.text:>12}" + "".join(f"{part:12.3f}" for part in means[word.text].values()))
    return means


def draw(scene):
    """Return the image of a scene, without noise."""
    return scenes.to_image(scenes.render(scene, 128)[0])


chase = scenes.Scene(
    (scenes.Thing("cat", "red", 4, 20, 24), scenes.Thing("mouse", "gray", 36, 20, 24)), relation="chase"
)
(cat, mouse), maps = record_scene(pipe, chase, prompt)
chased = {"cat": cat, "mouse": mouse, "background": ~(cat | mouse)}
means = attention_on(maps, chased)
assert means["vermelho"]["cat"] > means["vermelho"]["mouse"]
assert means["cinza"]["mouse"] > means["cinza"]["cat"]
colors = ["vermelho", "cinza"]
overlay_words(draw(chase), [maps.word(word) for word in colors], colors, upscale=256)

# %% [markdown] lang="pt"
# *Vermelho* ligou-se ao gato e *cinza* ao rato. Na linha de *gato* a diferença é menor: a chave do
# substantivo não contém a cor, que vem depois. E dois objetos que se tocam, em uma imagem do próprio modelo?
# **Um astronauta a cavalo:**
# %% [markdown] lang="en"
# *Vermelho* (red) is bound to the cat and *cinza* (gray) to the mouse. In the row of *gato* (cat) the
# difference is smaller: the noun's key does not contain the color, which comes later. And two objects that
# touch, in an image that the model generates? **An astronaut on horseback:**

# %%
riding = "um astronauta a cavalo"
ridden = promptweight.generate(pipe, riding, seed=0, num_inference_steps=STEPS)
ride = scenes.Scene(
    (scenes.Thing("astronaut", "blue", 16, 12, 24), scenes.Thing("horse", "white", 12, 20, 40)),
    relation="ride",
)
for ride_prompt in (riding, "um astronauta azul a cavalo branco"):
    (astronaut, horse), maps = record_scene(pipe, ride, ride_prompt)
    means = attention_on(maps, {"astronaut": astronaut, "horse": horse})
    print()
assert means["azul"]["astronaut"] > 2 * means["azul"]["horse"]
assert means["branco"]["horse"] > 2 * means["branco"]["astronaut"]
riders = ["astronauta", "cavalo"]
overlays = [overlay(ridden.images[0], ridden.maps.word(word), upscale=192) for word in riders]
contact_sheet([enlarge(ridden.images[0], 192), *overlays], [riding, *riders], columns=3, cell=192)

# %% [markdown] lang="pt"
# Na cena desenhada, sem cores no prompt, *cavalo* recebe tanta atenção do cavaleiro quanto do cavalo: os dois
# se tocam, e a palavra contém informação de *astronauta*. Com cores, *azul* e *branco* (a última palavra de
# cada expressão) separam os dois. Um mapa não é um contorno.
#
# ### Própria: um gato e o seu reflexo na água
#
# O reflexo tem de combinar com o gato, que está longe dele na imagem. Medimos a atenção de um patch *do
# reflexo* a todas as partes da imagem. Os números são múltiplos da média.
# %% [markdown] lang="en"
# In the drawn scene, without colors in the prompt, *cavalo* (horse) receives as much attention from the rider
# as from the horse: the two touch, and the word contains information from *astronauta*. With colors, *azul*
# (blue) and *branco* (white), the last word of each phrase, separate the two. A map is not an outline.
#
# ### Self: a cat and its reflection in the water
#
# The reflection must match the cat, which is far from it in the image. We measure the attention of one patch
# *of the reflection* to all parts of the image. The numbers are multiples of the mean.


# %%
def marked(image, place):
    """Draw a square around a patch."""
    image = enlarge(image, 256)
    x, y = (int(part * 16) * 16 for part in place)
    ImageDraw.Draw(image).rectangle((x, y, x + 16, y + 16), outline="white", width=2)
    return image


mirror = scenes.Scene((scenes.Thing("cat", "black", 20, 8, 24),), relation="mirror")
place = (0.5, 0.7)
(cat,), maps = record_scene(
    pipe, mirror, "um gato preto e seu reflexo na água", record=Record(patches=(place,))
)
reflection = torch.from_numpy(scenes.reflection_mask(mirror, 128)) > 0.5
water = torch.zeros_like(cat)
water[scenes.WATERLINE + 1 :] = True

heat = maps.layers("16x16").lift().patch(0)
regions = {"cat": cat, "reflection": reflection, "water": water & ~reflection, "background": ~water & ~cat}
lifts = {name: float(heat.tensor[region].mean()) for name, region in regions.items()}
for name, part in lifts.items():
    print(f"{name:>12} {part:5.2f} ×")
assert lifts["cat"] > lifts["water"]
assert lifts["reflection"] > lifts["water"]
contact_sheet([marked(draw(mirror), place), overlay(draw(mirror), heat, upscale=256)], columns=2, cell=256)

# %% [markdown] lang="pt"
# O patch dá mais atenção ao reflexo **e ao gato** do que à água ao redor.
#
# ### Conjunta: uma softmax para palavras e patches
#
# No Stable Diffusion 3 e no FLUX, palavras e patches formam uma sequência só, e uma softmax divide 1 entre
# todos. O `mini-dit` é um modelo desses. Registramos uma camada dele e fazemos a conta de um patch, no gato.
# %% [markdown] lang="en"
# The patch gives more attention to the reflection **and to the cat** than to the water around it.
#
# ### Joint: one softmax for words and patches
#
# In Stable Diffusion 3 and FLUX, words and patches form one sequence, and one softmax divides 1 among all of
# them. `mini-dit` is such a model. We record one of its layers and do the computation for one patch, on the
# cat.

# %%
joint_pipe = promptweight.load("mini-dit")
joint_layer = joint_pipe.transformer.transformer_blocks[3].attn
projections = {}
hooks = [
    joint_layer.get_submodule(name).register_forward_hook(
        lambda _module, _inputs, output, name=name: projections.update({name: output[0]})
    )
    for name in ("norm_q", "norm_k", "norm_added_k")
]
place = (0.25, 0.55)
record = Record(heads="keep", patches=(place,))
(cat, mouse), maps = record_scene(joint_pipe, chase, prompt, record=record)
for hook in hooks:
    hook.remove()

query, image_keys, text_keys = projections.values()  # (heads, 256 patches or all text tokens, d)
column, row = (int(part * 16) for part in place)
keys = torch.cat([image_keys, text_keys], dim=1)
logits = keys @ query[:, 16 * row + column, :, None] / query.shape[-1] ** 0.5
joint = logits[..., 0].softmax(-1)
image_part, text_part = joint[:, : image_keys.shape[1]], joint[:, image_keys.shape[1] :]

in_layer = maps.layers("transformer_blocks.3")
for head in range(len(joint)):
    row = in_layer.heads(head).row(0)
    words = sum(part for _, part in row.words)
    image_sum, text_sum = float(image_part[head].sum()), float(text_part[head].sum())
    sums = f"{image_sum:.3f} + {text_sum:.3f} = {image_sum + text_sum:.3f}"
    print(f"imagem + texto: {sums}; palavras: {words:.3f}")  # pt
    print(f"image + text: {sums}; words: {words:.3f}")  # en
    assert torch.allclose(row.tensor, text_part[head], atol=1e-5)

# %% [markdown] lang="pt"
# O resto da atenção ao texto vai para início, fim e preenchimento. Cada palavra recebe menos do que na
# atenção cruzada, porque a imagem recebe uma parte. Para comparar modelos, o promptweight tem `maps.share()`
# (parte entre as palavras) e `maps.lift()` (múltiplo da média). *Vermelho* liga-se ao gato aqui também?
# %% [markdown] lang="en"
# The rest of the attention to the text goes to beginning, end and padding. Every word receives less than in
# cross-attention, because the image receives a part. To compare models, promptweight has `maps.share()` (the
# part among the words) and `maps.lift()` (a multiple of the mean). Is *vermelho* bound to the cat here too?

# %%
means = attention_on(maps.lift(), chased)
assert means["vermelho"]["cat"] > means["vermelho"]["mouse"]
overlay_words(draw(chase), [maps.word(word) for word in colors], colors, upscale=256)

# %% [markdown] lang="pt"
# ## O que levar daqui
#
# 1. Cada cabeça aprende outra relação; um mapa é uma média de cabeças, camadas e passos.
# 2. No CLIP uma palavra só recebe das anteriores: use o mapa da expressão inteira.
# 3. Própria, cruzada, conjunta: a mesma conta; só mudam os elementos que dividem 1.
#
# **Para experimentar:** troque as cores na frase sem mudar o desenho: *vermelho* segue a frase ou a cor?
# Ponha o patch do reflexo na água limpa.
#
# A seguir: *O peso de uma palavra*.
# %% [markdown] lang="en"
# ## What to take away
#
# 1. Every head learns another relation; a map is a mean over heads, layers and steps.
# 2. In CLIP a word receives from earlier words only: use the map of the whole phrase.
# 3. Self, cross, joint: the same computation; only the elements that share 1 change.
#
# **To try:** swap the colors in the sentence without changing the drawing: does *vermelho* follow the
# sentence or the color? Put the patch of the reflection in clear water.
#
# Next: *The weight of a word*.
