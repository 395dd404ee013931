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
# # posthoc in one notebook
#
# Load a pair, write traces, draw one curve per probe, step through one chain, make a figure.
#
# The pair is bundled: a base model that works out sums modulo 11 when it is made to think, and the
# same model after fine-tuning on 300 problems whose chains belong to *other* problems. It answers
# those 300 perfectly. Does its chain still matter?

# %%
# %matplotlib inline
import torch

from interp.chains.trace_writing import gold_traces, write_traces
from interp.results import plots
from interp.results.summaries import summarise
from interp.tasks import make_task
from probes import find_probe
from probes.audit import pair_readers
from probes.audit.readings import find_row, read_reliance
from probes.model_names import find_model

torch.set_num_threads(1)
readers = pair_readers(find_model("base"), find_model("swapped-sft-pool"))
task = make_task("arith/pool", n=30, seed=0)
example = task.examples[0]
print(example.question, "|", *example.steps, "|", example.answer)

# %% [markdown]
# ## Traces
# The task's own correct chains, and what each model writes when the think block is opened for it.

# %%
traces = {"gold": gold_traces(readers["base"].tokenizer, task)}
for writer, model in readers.items():
    traces[writer] = write_traces(model, task, mode="forced", writer=writer)
for writer, written in traces.items():
    accuracy = sum(trace.correct for trace in written) / len(written)
    print(f"{writer:5} {' '.join(step.text for step in written[0].steps)}  accuracy {accuracy:.2f}")
assert sum(trace.correct for trace in traces["base"]) >= 28

# %% [markdown]
# ## Probes
# A probe is a frozen dataclass; its fields are its settings. It gives one item per example,
# condition and metric; `summarise` makes rows with intervals and paired contrasts.

# %%
items = []
for name in ("early_answering", "information_gain", "corruption"):
    items += find_probe(name)().run(readers, task, traces, seed=0)
rows = summarise(items, pair="base -> swapped-sft-pool", chance={task.name: task.chance}, seed=0)
for reader in readers:
    where = {"task": task.name, "reader": reader, "writer": "gold"}
    follows = find_row(rows, "corruption", "joint", "follows", **where)
    print(f"{reader}: follows the chain {follows.describe()}")
assert read_reliance(rows, "corruption", task.name, "base", "gold") == "load-bearing"
assert read_reliance(rows, "corruption", task.name, "post", "gold") == "not load-bearing"


# %% [markdown]
# One curve per probe. Both readers read the same correct chains, so what differs is the reader.

# %%
def on_gold(probe, condition, metric):
    """Rows of both readers on the task's own chains."""
    return [
        row
        for row in rows
        if (row.probe, row.condition, row.metric, row.writer) == (probe, condition, metric, "gold")
        and row.reader in readers
    ]


plots.curve(
    on_gold("early_answering", "share", "same_answer"),
    x="kept",
    xlabel="share of the chain kept",
    ylabel="same answer",
)

# %%
plots.curve(
    on_gold("information_gain", "share", "logprob"),
    x="kept",
    xlabel="share of the chain kept",
    ylabel="log p of the answer (nats)",
)

# %% [markdown]
# The curve over cut chains looks alike for both: a chain that stops halfway is a form that neither
# model ever saw, so both change their answer. Corruption leaves the form and changes the content:

# %%
edits = ("paraphrase", "mistake_last", "mistake_propagated", "shuffled", "swapped")
plots.dots(
    [row for edit in edits for row in on_gold("corruption", edit, "same_answer")],
    xlabel="answer stays the same",
)

# %% [markdown]
# ## One chain, step by step

# %%
chain = traces["gold"][0]
gains = [
    item
    for item in items
    if (item.probe, item.condition, item.metric) == ("information_gain", "chain", "gain")
    and item.example == chain.example
    and item.writer == "gold"
]
for item in gains:
    print(f"{item.reader:5} step {item.step}: {chain.steps[item.step].text:14} {item.value:+.2f} nats")
total = sum(item.value for item in gains if item.reader == "base")
assert 1.5 < total < 3.5  # around ln 11 = 2.40, the exact value on average

# %%
plots.step_bars(gains, texts=[step.text for step in chain.steps])

# %% [markdown]
# ## A figure for a paper
# One column wide, vector and PNG, the same bytes from the same rows.

# %%
import tempfile
from pathlib import Path

figure = plots.curve(
    on_gold("early_answering", "share", "same_answer"),
    x="kept",
    xlabel="share of the chain kept",
    ylabel="same answer",
)
paths = plots.save(figure, Path(tempfile.mkdtemp()), "early_answering")
assert all(path.stat().st_size > 1000 for path in paths)
