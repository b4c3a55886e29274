"""Weight of a word in attention: formula, model and image (format: see `make.py`)."""
# ruff: noqa: E402

# %% [markdown] lang="pt"
# # O peso de uma palavra
#
# O efeito de `(palavra:1.2)` na atenção: a fórmula, o modelo, a imagem. O terceiro de três cadernos; antes
# deste vêm *O que é atenção?* e *Tipos de atenção*.
# %% [markdown] lang="en"
# # The weight of a word
#
# The effect of `(palavra:1.2)` in attention: the formula, the model, the image (*palavra* is Portuguese for
# *word*). The third of three notebooks; before it come *What is attention?* and *Kinds of attention*.

# %%
import promptweight

pipe = promptweight.load("mini")

# %%
import torch

from promptweight.attention import Record
from promptweight.render import contact_sheet, enlarge, overlay

SEED, STEPS = 2, 12
prompt = "um gato vermelho persegue um rato cinza"
PLACE = (0.2, 0.5)  # a patch on the cat: x and y, as fractions of the image

# %% [markdown] lang="pt"
# ## 1. A fórmula
#
# Um patch divide 1 entre as palavras: $p_j = e^{s_j} / \sum_i e^{s_i}$, com uma semelhança $s_j$ para cada
# uma. Para dar mais a uma palavra, multiplicamos o seu $e^{s}$ por $w$ **antes** de dividir pela soma. É o
# mesmo que somar $\log w$ à semelhança:
#
# $$p'_j = \frac{w\,e^{s_j}}{w\,e^{s_j} + \sum_{i \ne j} e^{s_i}} = \frac{w\,p_j}{1 + (w - 1)\,p_j}$$
#
# Peso 1 não muda nada, peso 0 apaga a palavra, e a soma continua 1: o que uma ganha, as outras perdem. Um
# exemplo com quatro palavras e semelhanças inventadas, e o peso na terceira:
# %% [markdown] lang="en"
# ## 1. The formula
#
# A patch divides 1 among the words: $p_j = e^{s_j} / \sum_i e^{s_i}$, with a similarity $s_j$ for each. To
# give one word more, we multiply its $e^{s}$ by $w$ **before** dividing by the sum. This is the same as
# adding $\log w$ to the similarity:
#
# $$p'_j = \frac{w\,e^{s_j}}{w\,e^{s_j} + \sum_{i \ne j} e^{s_i}} = \frac{w\,p_j}{1 + (w - 1)\,p_j}$$
#
# Weight 1 changes nothing, weight 0 erases the word, and the sum stays 1: what one word gains, the others
# lose. An example with four words and invented similarities, with the weight on the third:

# %%
similarities = torch.tensor([0.5, 1.0, 1.5, -1.0])
before = similarities.softmax(0)
print("     w   p'")
for w in (0, 0.5, 1, 1.2, 2, 4):
    biased = similarities.clone()
    biased[2] += torch.tensor(float(w)).log()
    after = biased.softmax(0)
    assert torch.isclose(after[2], w * before[2] / (1 + (w - 1) * before[2]))
    print(f"{w:6}   " + "  ".join(f"{float(part):.3f}" for part in after))

# %% [markdown] lang="pt"
# De 1 a 1.2 a parte cresce, mas menos do que 1.2 vezes: quanto maior a parte, menor o ganho. Duas palavras
# sem peso continuam na mesma proporção entre si.
#
# ## 2. No modelo
#
# Com `weighting="attention"`, o promptweight aplica esta fórmula em todas as camadas cruzadas. Conferimos na
# primeira camada do primeiro passo, onde tudo o mais ainda é igual: o mesmo patch, sem e com
# `(vermelho:1.2)`.
# %% [markdown] lang="en"
# From 1 to 1.2 the part grows, but less than 1.2 times: the larger the part, the smaller the gain. Two words
# without a weight stay in the same proportion to each other.
#
# ## 2. In the model
#
# With `weighting="attention"`, promptweight applies this formula in every cross-attention layer. We check the
# first layer of the first step, where everything else is still the same: the same patch, without and with
# `(vermelho:1.2)`, a weight on *red*.


# %%
def first_step(pipe, red, layer):
    """Return the maps of one layer in the first step; `red` is the prompt's text for the color."""
    weighted = promptweight.generate(
        pipe,
        f"um gato {red} persegue um rato cinza",
        seed=SEED,
        num_inference_steps=2,
        weighting="attention",
        record=Record(steps="keep", heads="keep", layers=(layer,), patches=(PLACE,)),
    )
    return weighted.maps.steps(0, 1)


def check(pipe, layer, heads, w=1.2):
    """Compare the first step without and with a weight, head by head."""
    plain, weighted = (first_step(pipe, red, layer) for red in ("vermelho", f"(vermelho:{w})"))
    for head in range(heads):
        before, after = plain.heads(head).row(0), weighted.heads(head).row(0)
        p = before.word("vermelho")
        expected = w * p / (1 + (w - 1) * p)
        print(f"{p:.6f} → {after.word('vermelho'):.6f}   ({after.word('vermelho') / p:.3f} ×)")
        assert abs(after.word("vermelho") - expected) < 1e-5
    return before, after


layer = pipe.unet.down_blocks[1].attentions[0].transformer_blocks[0].attn2
before, after = check(pipe, "down_blocks.1.attentions.0", layer.heads)
assert abs(after.total - 1) < 1e-5

# %% [markdown] lang="pt"
# ### Na atenção conjunta
#
# No `mini-dit`, como no Stable Diffusion 3 e no FLUX, palavras e patches dividem o mesmo 1. A fórmula é a
# mesma: quando *vermelho* ganha, os patches também perdem.
# %% [markdown] lang="en"
# ### In joint attention
#
# In `mini-dit`, as in Stable Diffusion 3 and FLUX, words and patches share the same 1. The formula is the
# same: when *vermelho* gains, the patches lose too.

# %%
joint_pipe = promptweight.load("mini-dit")
heads = joint_pipe.transformer.config.num_attention_heads
before, after = check(joint_pipe, "transformer_blocks.0", heads)
sums = (before.total, after.total, 1 - before.total, 1 - after.total)
print("texto {:.4f} → {:.4f}, imagem {:.4f} → {:.4f}".format(*sums))  # pt
print("text {:.4f} → {:.4f}, image {:.4f} → {:.4f}".format(*sums))  # en
assert after.total > before.total

# %% [markdown] lang="pt"
# ## 3. Na imagem
#
# A mesma semente, com pesos diferentes no rato. Embaixo, os mapas de *rato cinza*, na mesma escala.
# %% [markdown] lang="en"
# ## 3. In the image
#
# The same seed, with different weights on the mouse (*rato cinza*, gray mouse). Below, the maps of *rato
# cinza*, on the same scale.

# %%
weights = (0, 0.1, 0.5, 1, 2)
results = []
for w in weights:
    weighted = f"um gato vermelho persegue um (rato cinza:{w})"
    results.append(
        promptweight.generate(pipe, weighted, seed=SEED, num_inference_steps=STEPS, weighting="attention")
    )
heats = [result.maps.word("rato cinza") for result in results]
scale = (0.0, max(float(heat.tensor.max()) for heat in heats))
contact_sheet(
    [enlarge(result.images[0], 160) for result in results]
    + [
        overlay(result.images[0], heat, scale=scale, upscale=160)
        for result, heat in zip(results, heats, strict=True)
    ],
    [*(f"(rato cinza:{w})" for w in weights), *(f"{heat.mass:.4f}" for heat in heats)],
    columns=len(weights),
    cell=160,
)

# %% [markdown] lang="pt"
# Com peso 0 o rato some. Com um décimo do peso ele ainda aparece: neste modelo, pouca atenção basta. Em
# outros pode ser diferente. Peso 1 não muda nada, bit a bit:
# %% [markdown] lang="en"
# With weight 0 the mouse disappears. With a tenth of the weight it still appears: in this model a little
# attention is enough. Other models may differ. Weight 1 changes nothing, bit for bit:

# %%
plain = promptweight.generate(pipe, prompt, seed=SEED, num_inference_steps=STEPS, record=False)
assert plain.images[0].tobytes() == results[weights.index(1)].images[0].tobytes()
masses = [heat.mass for heat in heats]
assert masses == sorted(masses)

# %% [markdown] lang="pt"
# ## O que levar daqui
#
# 1. Um peso soma $\log w$ à semelhança; todas as partes continuam somando 1.
# 2. A mesma fórmula vale na atenção cruzada e na conjunta.
# 3. O peso muda a atenção com exatidão; o efeito na imagem depende do modelo.
#
# **Para experimentar:** aumente o peso até a imagem quebrar. Escreva `(rato cinza:0{steps=0.2-1})`: o rato
# ainda aparece?
#
# A seguir: *Qual ponderação usar?* (há outros métodos) e *Ler mapas de atenção com honestidade*.
# %% [markdown] lang="en"
# ## What to take away
#
# 1. A weight adds $\log w$ to the similarity; all parts still sum to 1.
# 2. The same formula holds in cross- and in joint attention.
# 3. The weight changes attention exactly; the effect on the image depends on the model.
#
# **To try:** raise the weight until the image breaks. Write `(rato cinza:0{steps=0.2-1})`: does the mouse
# still appear?
#
# Next: *Which weighting should I use?* (there are other methods) and *Reading attention maps honestly*.
