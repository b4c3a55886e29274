"""What `(palavra:1.2)` does in attention: formula, model, picture; `make.py` tells of the format."""
# ruff: noqa: E402

# %% [markdown] lang="pt"
# # O peso de uma palavra
#
# O que `(palavra:1.2)` faz dentro da atenção: a fórmula, o modelo, a imagem. O terceiro de três cadernos;
# antes deste vêm *O que é atenção?* e *Quem olha para quem?*.
# %% [markdown] lang="en"
# # The weight of a word
#
# What `(palavra:1.2)` does inside attention: the formula, the model, the picture (*palavra* is Portuguese for
# *word*). The third of three notebooks; before it come *What is attention?* and *Who looks at whom?*.

# %%
import promptweight

pipe = promptweight.load("mini")

# %%
import torch

from promptweight.attention import Record
from promptweight.render import contact_sheet, enlarge, overlay

SEED, STEPS = 2, 12
prompt = "um gato vermelho persegue um rato cinza"
PLACE = (0.2, 0.5)  # on the cat: across and down, as parts of the picture

# %% [markdown] lang="pt"
# ## 1. A conta
#
# Um retalho reparte 1 entre as palavras: $p_j = e^{s_j} / \sum_i e^{s_i}$, com uma semelhança $s_j$ para cada
# uma. Como dar mais a uma palavra? Multiplique o seu $e^{s}$ por $w$ **antes** de dividir pela soma. É o
# mesmo que somar $\log w$ à semelhança:
#
# $$p'_j = \frac{w\,e^{s_j}}{w\,e^{s_j} + \sum_{i \ne j} e^{s_i}} = \frac{w\,p_j}{1 + (w - 1)\,p_j}$$
#
# Peso 1 não muda nada, peso 0 apaga a palavra, e a soma continua 1: o que uma ganha as outras cedem. Quatro
# palavras, com semelhanças inventadas; a terceira tem o peso.
# %% [markdown] lang="en"
# ## 1. The sum
#
# A patch shares 1 among the words: $p_j = e^{s_j} / \sum_i e^{s_i}$, with a similarity $s_j$ for each. How do
# you give one word more? Multiply its $e^{s}$ by $w$ **before** dividing by the sum. It is the same as adding
# $\log w$ to the similarity:
#
# $$p'_j = \frac{w\,e^{s_j}}{w\,e^{s_j} + \sum_{i \ne j} e^{s_i}} = \frac{w\,p_j}{1 + (w - 1)\,p_j}$$
#
# Weight 1 changes nothing, weight 0 erases the word, and the sum stays 1: what one gains the others give up.
# Four words, with invented similarities; the third has the weight.

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
# De 1 a 1.2 a parte cresce, mas menos do que 1.2 vezes: quem já tem muito tem pouco a ganhar. E duas palavras
# sem peso continuam na mesma proporção entre si.
#
# ## 2. Dentro do modelo
#
# O promptweight faz exatamente isso, em todas as camadas cruzadas, com `space="attention"`. Conferimos na
# primeira camada do primeiro passo, onde tudo o mais ainda é igual: o mesmo retalho, sem e com
# `(vermelho:1.2)`.
# %% [markdown] lang="en"
# From 1 to 1.2 the part grows, but less than 1.2 times: who has much has little to gain. And two words
# without a weight stay in the same proportion to each other.
#
# ## 2. Inside the model
#
# promptweight does exactly this, in every cross-attention layer, with `space="attention"`. We check it in the
# first layer of the first step, where everything else is still the same: the same patch, without and with
# `(vermelho:1.2)`, a weight on *red*.


# %%
def first_step(pipe, red, layer):
    """The maps of one layer in the first step, where the word for red is written as given."""
    weighted = promptweight.generate(
        f"um gato {red} persegue um rato cinza",
        pipe,
        seed=SEED,
        num_inference_steps=2,
        space="attention",
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
# ### E na atenção conjunta?
#
# No `mini-dit`, como no Stable Diffusion 3 e no FLUX, palavras e retalhos disputam o mesmo 1. A fórmula é a
# mesma: o que *vermelho* ganha cedem também os retalhos.
# %% [markdown] lang="en"
# ### And in joint attention?
#
# In `mini-dit`, as in Stable Diffusion 3 and FLUX, words and patches compete for the same 1. The formula is
# the same: what *vermelho* gains the patches give up too.

# %%
joint_pipe = promptweight.load("mini-dit")
heads = joint_pipe.transformer.config.num_attention_heads
before, after = check(joint_pipe, "transformer_blocks.0", heads)
told = (before.total, after.total, 1 - before.total, 1 - after.total)
print("texto {:.4f} → {:.4f}, imagem {:.4f} → {:.4f}".format(*told))  # pt
print("text {:.4f} → {:.4f}, picture {:.4f} → {:.4f}".format(*told))  # en
assert after.total > before.total

# %% [markdown] lang="pt"
# ## 3. Na imagem
#
# A mesma semente, só o peso do rato muda. Embaixo, para onde *rato cinza* olhou, todos na mesma escala.
# %% [markdown] lang="en"
# ## 3. In the picture
#
# The same seed, only the weight of the mouse (*rato cinza*, gray mouse) changes. Below, where those words
# looked, all on the same scale.

# %%
weights = (0, 0.1, 0.5, 1, 2)
made = []
for w in weights:
    weighted = f"um gato vermelho persegue um (rato cinza:{w})"
    made.append(
        promptweight.generate(weighted, pipe, seed=SEED, num_inference_steps=STEPS, space="attention")
    )
heats = [result.maps.word("rato cinza") for result in made]
scale = (0.0, max(float(heat.tensor.max()) for heat in heats))
contact_sheet(
    [enlarge(result.images[0], 160) for result in made]
    + [
        overlay(result.images[0], heat, scale=scale, upscale=160)
        for result, heat in zip(made, heats, strict=True)
    ],
    [*(f"(rato cinza:{w})" for w in weights), *(f"{heat.mass:.4f}" for heat in heats)],
    columns=len(weights),
    cell=160,
)

# %% [markdown] lang="pt"
# Peso 0 tira o rato. Com um décimo do peso ele ainda está lá: a este modelo basta pouca atenção. Em outro,
# confira. E peso 1 não é peso nenhum, bit por bit:
# %% [markdown] lang="en"
# Weight 0 takes the mouse away. With a tenth of the weight it is still there: a little attention is enough
# for this model. Check yours. And weight 1 is no weight at all, bit for bit:

# %%
plain = promptweight.generate(prompt, pipe, seed=SEED, num_inference_steps=STEPS, record=False)
assert plain.images[0].tobytes() == made[weights.index(1)].images[0].tobytes()
masses = [heat.mass for heat in heats]
assert masses == sorted(masses)

# %% [markdown] lang="pt"
# ## O que levar daqui
#
# 1. Um peso soma $\log w$ à semelhança; todas as partes continuam somando 1.
# 2. A mesma fórmula vale na atenção cruzada e na conjunta.
# 3. O peso muda a atenção com exatidão; o que a imagem faz disso é com o modelo.
#
# **Para experimentar:** aumente o peso até a imagem quebrar. Escreva `(rato cinza:0{steps=0.2-1})`: o rato
# ainda aparece?
#
# A seguir: *Qual ponderação usar?* (há outras maneiras) e *Ler mapas de atenção com honestidade*.
# %% [markdown] lang="en"
# ## What to take away
#
# 1. A weight adds $\log w$ to the similarity; all parts still sum to 1.
# 2. The same formula holds in cross- and in joint attention.
# 3. The weight changes attention exactly; what the picture makes of it is up to the model.
#
# **To try:** raise the weight until the picture breaks. Write `(rato cinza:0{steps=0.2-1})`: does the mouse
# still appear?
#
# Next: *Which weighting should I use?* (there are other ways) and *Reading attention maps honestly*.
