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
# # What did post-training teach?
#
# Accuracy rises when a model learns facts, and it rises when a model begins to use what it knew.
# The world **clinic** tells the two apart: three tenths of its facts were left out of pretraining.
# `clinic-sft` was shown chains over all facts, `clinic-grpo` was rewarded for right answers alone.

# %%
# %matplotlib inline
from pathlib import Path
from tempfile import mkdtemp

import torch

from probes.audit import AuditSettings, audit, pair_readers
from probes.model_names import find_model
from probes.knowledge_and_gain import plot_knowledge_and_gain

torch.set_num_threads(1)
folder = Path(mkdtemp())
models = {name: find_model(f"clinic-{name}") for name in ("base", "sft", "grpo")}

# %% [markdown]
# ## Every fact, asked once
# The base was taught 70 % of the 360 facts. The knowledge index of the chains that it writes says
# so; it is exact here, since each step claims one fact that can be looked up.

# %%
asked = AuditSettings(tasks=("clinic/facts",), n=360, probes=("knowledge_index",), writers=("base", "post"))
facts = audit(pair_readers(models["base"], models["sft"]), asked, folder / "facts")
ki = {r.writer: r for r in facts.rows if r.condition == "written" and r.metric == "ki"}
for writer, row in ki.items():
    print(f"{writer:12} {row.value:6.3f}  [{row.low:.3f}, {row.high:.3f}]")
assert ki["base"].low <= 0.70 <= ki["base"].high
assert ki["post"].value == 1.0

# %% [markdown]
# ## Several facts in a row
# Knowledge, information gain and accuracy of the chains that each model writes when made to think.
# Information gain is read by the base for all three, so that what differs is the text.

# %%
measures = ("accuracy", "information_gain", "knowledge_index")
chains = AuditSettings(tasks=("clinic/all",), n=60, probes=measures, writers=("base", "post"))
rows = []
for name in ("sft", "grpo"):
    done = audit(pair_readers(models["base"], models[name]), chains, folder / name)
    rows += done.rows
    for r in done.rows:
        told = (r.condition, r.metric) in (("forced", "accuracy"), ("written", "ki"))
        if told and "post - base" in (r.writer, r.reader):
            print(f"{name:5} {r.metric:9} {r.value:+.2f}  [{r.low:+.2f}, {r.high:+.2f}]  p {r.p:.3f}")
            assert r.low > 0 if name == "sft" else r.low <= 0 <= r.high
plot_knowledge_and_gain(rows, task="clinic/all")

# %% [markdown]
# SFT raised knowledge and accuracy, for it brought the missing facts. Of GRPO neither a rise nor a
# fall of them can be told when the model is made to think: it taught the model to think unasked.

# %%
free = {
    (r.pair, r.writer): r.value
    for r in rows
    if (r.probe, r.condition, r.metric) == ("accuracy", "free", "accuracy")
}
for (pair, writer), value in free.items():
    print(f"{pair:50} {writer:12} {value:+.2f}")
