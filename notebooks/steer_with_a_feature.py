# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Steer with a feature
#
# The bundled base model works out sums when it opens a chain, and seldom opens one. Is there a
# feature that makes it begin? First latents of an SAE, which do not; then a mean difference, which
# does; then the evidence that the edit took place, and a file for somebody else's tool.

# %%
# %matplotlib inline
from pathlib import Path
from statistics import fmean
from tempfile import mkdtemp

import torch

from interp.results import plots
from interp.chains.texts import decode, encode
from interp.methods.directions import collect, logit_lens, mean_difference, with_reference
from interp.organisms.saes.bundled_saes import find_sae
from interp.sites import Site
from interp.methods.steering import SweepSettings, compare, random_band, sweep, write_steered
from interp.tasks import make_task
from interp.methods.vector_cards import load_vector, save_card
from probes.model_names import find_model
from probes.sae_features import RANDOM, SaeFeatures, label

torch.set_num_threads(1)
base, grpo = find_model("base"), find_model("grpo")
task = make_task("arith/fresh", n=40, seed=0)

# %% [markdown]
# ## Features of the mode
# The SAE is found by the checksum of the model's weights. Latents are ranked by how active they are
# around the words of chains, and each is put to a test: do these words wake it when they are put
# into texts *without* a chain? Then it stands for words.

# %%
probe = SaeFeatures(sae=str(find_sae(base)))
features, _ = probe.find({"base": base}, task, seed=0)
for one in features.found:
    said = one.falsification
    tokens = " ".join(decode(base.tokenizer, [token]) for token in said.tokens)
    print(f"{label(one.latent, said.kind):38} ReasonScore {one.score:.4f}  d {said.d:.2f}  {tokens}")
assert all("token-driven" in one.falsification.kind for one in features.found)

# %% [markdown]
# All of them are woken by words, in whole or in part. None is shown to stand for reasoning.
#
# ## Each as a switch
# The decoder row is added once, at the last question token, where the first new token is decided.

# %%
items = probe.run({"base": base}, task, {}, seed=0)


def mean_of(variant, dose, metric):
    """Mean over the questions."""
    asked = (variant, dose, metric)
    return fmean(i.value for i in items if (i.variant, i.dose, i.metric) == asked)


switches = [label(one.latent, one.falsification.kind) for one in features.found]
print(f"{'':38} dose   P(think)  accuracy")
for name, dose in dict.fromkeys((item.variant, item.dose) for item in items):
    p_think, right = (mean_of(name, dose, metric) for metric in ("p_think", "accuracy"))
    print(f"{name:38} {dose or 0.0:+.1f}  {p_think:8.3f}  {right:8.3f}")
best = max(mean_of(name, dose, "p_think") for name in switches for dose in probe.doses)
assert best < 0.3
assert mean_of(RANDOM, 1.0, "p_think") < 0.3

# %% [markdown]
# A negative result: **no single latent switches the mode on.** What they do is about what random
# latents do. The best raises P(think) from 0.07 to less than 0.2, at a dose of the wrong sign, and
# it is the best of twelve. That says nothing against switches elsewhere: four latents, one layer,
# one SAE.
#
# ## A direction that works
# The mean of `grpo` minus the mean of `base` at the last question token, at the same site, found on
# other problems. It is what post-training changed there, so that it works in base is no evidence
# that base knew of it.

# %%
site = Site(1, "resid_post")
fit = make_task("arith/fresh", n=200, seed=1)
questions = [encode(base.tokenizer, example.question) for example in fit.examples]
post_at, base_at = (
    collect(model, questions, [(-1,)] * len(questions), site) for model in (grpo, base)
)
direction = with_reference(mean_difference(post_at, base_at), base_at.mean_norm)
print(f"length of the difference: {direction.natural_dose:.2f} mean residual norms")

# %% [markdown]
# Doses on both sides of its own length, with eight random directions of the same length.

# %%
settings = SweepSettings(doses=(-0.5, 0.5, 0.75, 1.0, 1.5, 2.0), positions=(-1,), n_random=8)
rows = sweep(base, task, direction, settings)
plots.dose_response(rows, metrics=("p_think", "accuracy", "valid", "kl_rest"))

# %%
for metric in ("p_think", "accuracy"):
    told = compare(rows, metric, kl_budget=0.1, cost="kl_rest")
    low, high = told.band
    print(
        f"{metric}: {told.chosen.effect:+.2f} at dose {told.chosen.dose:g}, "
        f"random {low:+.2f} to {high:+.2f}, p {told.p:.2f}"
    )
    assert told.chosen.effect > 0.6
    assert told.chosen.effect > high
value = {(r.metric, r.dose): r.value for r in rows if r.kind == "steered"}
highest = max(high for _, high in random_band(rows, "accuracy").values())
assert highest > 0.5
assert value["accuracy", 1.5] < value["accuracy", 1.0] - 0.2
assert value["valid", 1.5] < 0.95
assert max(value["kl_rest", dose] for dose in settings.doses) < 0.02

# %% [markdown]
# It works, and three things stand beside that:
#
# - **So does a random direction.** The best of eight gets most of the way in accuracy when it is
#   twice as long. Greedy text turns at a threshold, so a modest push of P(think) is a great one of
#   accuracy; P(think) sets the direction apart more clearly. Eight controls give p = 1/9 at best,
#   which settles nothing by itself.
# - **Too much is too much.** At twice its own length the direction overshoots: chains, accuracy and
#   valid texts all fall.
# - **It says nothing of the skill.** After the first token the text is hardly touched (KL of the
#   rest), and it is base that works out the sum.
#
# Nor does it simply name the token that opens a chain: by the last matrix alone that token is not
# among those it favours. What it pushes down most is the opening of an answer. A lens says little
# where a layer still follows, and no more is concluded from it.

# %%
lens = logit_lens(base, direction, n=5)
for end, named in (("favours", lens.top), ("disfavours", lens.bottom)):
    print(f"{end:11}", *(f"{one.text} {one.score:+.1f} " for one in named))
assert task.layout.think_open not in [one.text for one in lens.top]
assert lens.bottom[0].text == task.layout.answer_cue

# %% [markdown]
# ## The receipt
# One question, written unsteered, pushed once, and pushed everywhere, each with the positions that
# were edited, counted from the start of the prompt. The engine raises where the count is not what was
# asked for. Pushed once, the chain is right; pushed everywhere, the text breaks.

# %%
prompts = [encode(base.tokenizer, task.examples[0].question)]
ends = {"max_new_tokens": 24, "stop": [(base.tokenizer.eos_token_id,)]}
plain, once, always = (
    write_steered(base, prompts, direction, dose, positions=where, **ends)[0]
    for dose, where in ((0.0, (-1,)), (0.75, (-1,)), (0.75, "all"))
)
print("question:", task.examples[0].question, "| answer:", task.examples[0].answer)
for name, text in (("plain", plain), ("once", once), ("always", always)):
    told, edited = text.receipt, " ".join(map(str, text.receipt.positions))
    print(f"{name:7}{text.text}")
    print(f"       norm {told.edit_norm:.1f}, dose {told.dose_in_norms:.2f}, edited at {edited}")
assert once.receipt.positions == (len(prompts[0]) - 1,)
n_read = len(prompts[0]) + len(always.ids) - 1  # the last token that is written is not read
assert always.receipt.positions == tuple(range(n_read))
assert plain.receipt.edit_norm == 0.0
assert abs(once.receipt.edit_norm / (0.75 * direction.reference_norm) - 1) < 1e-3
assert once.text.startswith("<think>")
assert not plain.text.startswith("<think>")
assert "</think>" in once.text
assert "</think>" not in always.text

# %% [markdown]
# ## A card
# Vector, site, unit of doses, models and their checksums in one safetensors file.

# %%
card = Path(mkdtemp()) / "begin_to_reason.safetensors"
save_card(card, direction)
again = load_vector(card)
assert torch.equal(again.vector, direction.vector)
assert (again.site, again.reference_norm, again.source) == (
    direction.site,
    direction.reference_norm,
    direction.source,
)
print(again.site, again.source.method, *again.source.models, again.source.note)
assert write_steered(base, prompts, again, 0.75, positions=(-1,), **ends)[0].ids == once.ids
