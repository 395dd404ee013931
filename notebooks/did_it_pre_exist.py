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
# # Was the reasoning there before?
#
# Two pairs in which post-training made a model reason. In the first, the base had learned chains in
# pretraining and hardly ever opens one unasked; GRPO rewarded right answers. In the second, the base
# never saw a chain; SFT showed it some. The truth is known: the first ability pre-existed, the
# second was created. Do the instruments say so, and what do they *not* say?

# %%
# %matplotlib inline
import torch

from interp.results import plots
from interp.results.plots.steering_cells import four_cells
from interp.results.summaries import summarise
from interp.tasks import make_task
from probes.first_token import FirstToken
from probes.hybrid import HybridDecoding, describe_hybrid, recovery_of
from probes.model_names import find_model
from probes.pre_existence import PreExistenceSettings, describe_record, examine

torch.set_num_threads(1)
names = {
    "pre-existed": ("base:1", "grpo:1"),
    "created": ("base-no-chains:1", "chain-sft-no-chains:1"),
}
pairs = {
    truth: dict(zip(("base", "post"), map(find_model, both), strict=True))
    for truth, both in names.items()
}
task = make_task("arith/fresh", n=80, seed=0)

# %% [markdown]
# ## The 2 x 2 test
# Directions found in base and in post, each added to both at the last question token. Site and dose
# are chosen on half of the problems; everything shown is from the other half. *Reasons* counts a
# chain that is opened and right to its end, *opens* the opening alone.

# %%
found = {
    truth: examine(pair["base"], pair["post"], task, PreExistenceSettings(), seed=0)
    for truth, pair in pairs.items()
}
for one in found.values():
    print(*describe_record(one.record()), sep="\n", end="\n\n")
assert found["pre-existed"].verdict == "latent-usable"
assert found["created"].verdict == "absent"

# %% [markdown]
# Grey: the band of random directions, as long as the direction. Filled: the dose that was chosen.

# %%
four_cells(found["pre-existed"].curves)

# %%
four_cells(found["created"].curves)

# %% [markdown]
# Both verdicts agree with how the models were made. But look at what carries them.
#
# - **Random directions elicit too.** In the first base the best of 19 random pushes has a good part
#   of the effect. The test asks for the excess over it; the effect by itself says little.
# - **The direction found is mostly the token that opens a chain.** It was chosen at the last layer,
#   where nothing but the final norm and the unembedding follows, and in post it moves no more than
#   that token's own direction. So *transferable* is "no" in both pairs: nothing here shows a
#   direction of reasoning that base and post share.
# - **Opening is not reasoning.** In the second base the same push opens chains, and none is right.
#   That, and not the direction, is what tells the pairs apart.
#
# So "latent-usable" says: this base reasons rightly once something makes it begin.

# %%
usable = found["pre-existed"].findings["usable"]
assert usable.control.startswith("random")
assert usable.effect.value - usable.excess.value > 0.15  # what that control does
for one in found.values():
    assert "blocks.2" in one.findings["transferable"].where
    assert one.findings["transferable"].answer == "no"
    assert one.findings["transferable"].control == "token"
pushed = next(
    cell for cell in found["created"].cells if (cell.source, cell.steered) == ("base", "base")
)
print(f"opens {pushed.outcome.opens.mean():.2f}, reasons {pushed.outcome.reasons.mean():.2f}")
assert pushed.outcome.opens.mean() > 0.15
assert pushed.outcome.reasons.mean() < 0.05

# %% [markdown]
# ## One transplanted token
# Each model writes greedily; then one writes the first token and the other all the rest; then the
# whole residual stream at the last question token is patched from the other model.

# %%
rows = {}
for truth, pair in pairs.items():
    items = FirstToken().run(pair, task, {}, seed=0)
    made = summarise(items, pair=truth, chance={task.name: task.chance}, seed=0)
    rows[truth] = [r for r in made if r.metric == "accuracy" and r.reader in pair]
accuracy = {(r.pair, r.condition, r.reader): r for truth in rows for r in rows[truth]}
wordings = {
    "alone": "alone",
    "post_then_base": "post writes 1 token",
    "patched_base": "patched from post",
    "base_then_post": "base writes 1 token",
    "patched_post": "patched from base",
    "arith/fresh": "pre-existed",
}
plots.dots(rows["pre-existed"], xlabel="accuracy", names=wordings, chance=True)

# %%
plots.dots(rows["created"], xlabel="accuracy", names=wordings | {"arith/fresh": "created"}, chance=True)

# %%
assert accuracy["pre-existed", "post_then_base", "base"].low > 0.8
assert accuracy["pre-existed", "base_then_post", "post"].high < 0.3
assert accuracy["created", "post_then_base", "base"].high < 0.3

# %% [markdown]
# In the first pair one token from post gives base the whole gain, and one from base takes it from
# post. In the second one token gives base nothing. Whether the *rest* of a chain can be written is
# thus a fact about base. Two limits:
#
# - The token comes from post. That it suffices does not say that base would find it.
# - The patch adds nothing to that. All layers are patched at the position where the first token is
#   read out, the last layer among them, so it carries post's choice across: it is transport.

# %%
for truth in pairs:
    one, other = (accuracy[truth, name, "base"] for name in ("post_then_base", "patched_base"))
    print(f"{truth:12} token {one.value:.2f}, patch {other.value:.2f}")
    assert abs(one.value - other.value) < 0.1

# %% [markdown]
# ## Hybrid decoding
# Base writes and is steered where post would differ; the headline, `base_alone`, does without post.
# Few problems and two doses, so the intervals are wide.

# %%
few = make_task("arith/fresh", n=60, seed=0)
hybrid = {}
for truth, pair in pairs.items():
    hybrid[truth] = HybridDecoding(doses=(1.0, 2.0)).run(pair, few, {}, seed=0)
    print(truth, *describe_hybrid(hybrid[truth], seed=0), sep="\n", end="\n\n")

# %% [markdown]
# In the first pair the controls without any vector recover all of the gap: `guardrail_only`, in which
# post picks among the base's own tokens, and `base_alone_runner_up`, which takes the base's second
# choice where its gate fires. No steered variant comes near them. The 100 % of `guardrail_only` is a
# leak of the protocol: post chooses the one token that matters. It is no evidence for steering. In
# the second pair no variant recovers the gap, since no choice of base's tokens makes a right chain.

# %%
def share(truth, variant):
    """Percent of the gap that a variant recovers."""
    return recovery_of(hybrid[truth], variant, seed=0)


for vectorless in ("guardrail_only", "base_alone_runner_up"):
    assert share("pre-existed", vectorless).low > 80
    assert share("created", vectorless).high < 20
for steered in ("hybrid", "base_alone"):
    assert share("pre-existed", steered).high < 80
    assert share("created", steered).high < 40

# %% [markdown]
# ## What was found
# The verdicts, the transplant and the controls agree: the first base could reason and did not begin,
# the second could not. What was *not* found is a direction of reasoning, shared by base and post,
# beyond the token that opens a chain. One seed of each pair, and tiny models: the command
# `posthoc preexist BASE POST` makes the same test with more problems.
