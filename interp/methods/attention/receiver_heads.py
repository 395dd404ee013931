"""Receiver heads: attention heads that look back at a few steps from everywhere after them.

The attention pattern of a text is averaged to one number per head and pair of steps: the mean
weight that the tokens of a later step give to the tokens of an earlier one. How much a head looks
at step j *from afar* is its vertical score: the mean of column j over the steps at least four
further on. A head whose vertical scores are much alike looks anywhere; one with high kurtosis over
steps singles out a few, and is called a receiver head (Thought Anchors, Bogdan et al.,
arXiv 2506.19143). The rest of the chain may depend on the steps that such heads single out. This is
correlation; `interp.methods.attention.suppression` is the matching intervention.

Fused attention never forms the pattern, so the text is read with the eager kernel, on the same
weights; the model itself keeps its own kernel. A pattern has a number for every head
and pair of tokens; it is formed for a block of queries at a time, on top of the cache of the tokens
before, and reduced to steps at once, so that memory grows with the text and not with its square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.methods.attention.stepped_text import SteppedText, check_text
from interp.models.forward import new_cache, with_kernel
from interp.models.model import Model
from interp.progress import track

QUERY_BLOCK = 256
"""Query positions whose pattern is formed at a time."""
FEWEST_SCORES = 4
"""Steps with a vertical score that a kurtosis needs; of three numbers it is always the same."""


def _patterns(
    model: Model, ids: Sequence[int], cache: object
) -> tuple[Float[Tensor, "1 n_heads q_pos k_pos"], ...]:
    """Attention of these tokens to the cache and themselves in each layer; the cache grows."""
    run = model.hf.get_submodule(model.adapter.body)
    tokens = torch.tensor([[*ids]], device=model.device)
    read = run(input_ids=tokens, past_key_values=cache, use_cache=True, output_attentions=True)
    patterns = read.attentions or ()
    if len(patterns) != model.n_layers or any(pattern is None for pattern in patterns):
        raise RuntimeError(
            f"{model.name} returned attention patterns of {len(patterns)} of {model.n_layers} "
            f"layers under the kernel {model.hf.config._attn_implementation!r}. Receiver heads "
            f"need a family whose eager kernel returns them for every layer"
        )
    return patterns


@torch.no_grad()
def step_attention(model: Model, text: SteppedText) -> Float[Tensor, "n_layers n_heads step step"]:
    """Mean attention weight from the tokens of one step to the tokens of another, per head.

    Args:
        model: The reader.
        text: The text.

    Returns:
        Weights [layer, head, target step, source step] on the CPU in float32. Above the diagonal
        they are 0; on it, the half of the token pairs that causality forbids counts as 0.

    Raises:
        ValueError: If the text has no steps or does not fit the model, or weights are not finite.
        RuntimeError: If the model returns no patterns.
    """
    check_text(model, text, "the text")
    # Tokens after the last step enter no mean, so they are not read.
    n_tokens = text.steps[-1].stop
    share = torch.zeros(n_tokens, len(text.steps), device=model.device)
    for number, span in enumerate(text.steps):
        share[span.start : span.stop, number] = 1 / len(span)
    size = (model.n_layers, model.n_heads, len(text.steps), len(text.steps))
    weights = torch.zeros(size, device=model.device)
    cache = new_cache(model)
    reader = with_kernel(model, "eager")
    for start in range(0, n_tokens, QUERY_BLOCK):
        stop = min(start + QUERY_BLOCK, n_tokens)
        for layer, pattern in enumerate(_patterns(reader, text.ids[start:stop], cache)):
            weights[layer] += share[start:stop].T @ (pattern[0].float() @ share[:stop])
    if not bool(torch.isfinite(weights).all()):
        raise ValueError(
            f"{model.name} returned attention weights that are not finite. Likely broken weights "
            f"or half precision out of range; load it with dtype='float32' to tell which"
        )
    return weights.cpu()


def vertical_scores(
    attention: Float[Tensor, "n_layers n_heads step step"], *, distance: int = 4
) -> Float[Tensor, "n_layers n_heads step"]:
    """How much each head attends to each step from at least `distance` steps later.

    Args:
        attention: As from `step_attention`.
        distance: Fewest steps between target and source, 4 in the paper. Nearer looks are left out:
            nearly every head looks at what it has just read.

    Returns:
        Mean over the targets i >= j + distance of the weight on source j; NaN for the last steps,
        which nothing looks at from so far.

    Raises:
        ValueError: If the distance is below 1.
    """
    if distance < 1:
        raise ValueError(
            f"distance counts the steps that a head looks back, at least 1, received {distance}"
        )
    n_steps = attention.shape[-1]
    # The last columns are empty: 0 / 0 makes their NaN.
    far = torch.ones(n_steps, n_steps).tril(-distance)
    return (attention * far).sum(-2) / far.sum(0)


def kurtosis(scores: Float[Tensor, "n_layers n_heads step"]) -> Float[Tensor, "n_layers n_heads"]:
    """Fisher kurtosis over steps (0 for a normal distribution, without bias correction).

    Args:
        scores: As from `vertical_scores`; NaN steps are left out.

    Returns:
        Mean fourth power of the deviations over the square of their mean square, minus 3. NaN if
        fewer than four steps have a score or all scores are the same.
    """
    # In float64: fourth powers of small attention weights underflow in float32.
    deviation = (scores - scores.nanmean(-1, keepdim=True)).double()
    variance, fourth = deviation.square().nanmean(-1), deviation.pow(4).nanmean(-1)
    enough = (~scores.isnan()).sum(-1) >= FEWEST_SCORES
    excess = fourth / variance.square() - 3
    return excess.where(enough & (variance > 0), torch.nan).float()


@dataclass(frozen=True, eq=False)
class ReceiverHeads:
    """Heads ranked by how much they single out steps."""

    kurtosis: Float[Tensor, "n_layers n_heads"]
    """Mean over the texts that are long enough; NaN if none is."""
    top: tuple[tuple[int, int], ...]
    """The receiver heads as (layer, head), the most peaked first."""
    step_scores: tuple[Float[Tensor, " _"], ...]
    """Per text the mean vertical score of each step over the receiver heads; NaN for the last."""
    n_texts: int
    """Texts long enough for a kurtosis."""


def find_receiver_heads(
    model: Model,
    texts: Sequence[SteppedText],
    *,
    k: int = 20,
    distance: int = 4,
    progress: str | None = None,
) -> ReceiverHeads:
    """Finds the heads that single out steps in some texts, and the steps that they single out.

    The kurtosis of few numbers is small whatever they are, so compare heads over the same texts
    only. Scores of a step that were found with its own text among `texts` are in-sample.

    Args:
        model: The reader.
        texts: Texts with their steps, read one at a time. Those with fewer than `distance` + 4
            steps have no kurtosis and count for the step scores only.
        k: How many heads are called receiver heads, 20 in the paper.
        distance: As in `vertical_scores`.
        progress: Label of a progress bar for work over two seconds.

    Returns:
        The ranking, the k best heads (fewer only if fewer have a kurtosis), and step scores.

    Raises:
        ValueError: If a text does not fit, or k or distance is out of range.
        RuntimeError: If the model returns no patterns.
    """
    for number, text in enumerate(texts):
        check_text(model, text, f"text {number}")
    n_heads = model.n_layers * model.n_heads
    if not 1 <= k <= n_heads or distance < 1:
        raise ValueError(
            f"k picks 1 to all {n_heads} heads of {model.name}, and distance is at least 1; "
            f"received k={k} and distance={distance}"
        )
    vertical = [
        vertical_scores(step_attention(model, text), distance=distance)
        for text in track(texts, progress)
    ]
    long_enough = [v for v in vertical if v.shape[-1] - distance >= FEWEST_SCORES]
    if long_enough:
        mean = torch.stack([kurtosis(scores) for scores in long_enough]).nanmean(0)
    else:
        mean = torch.full((model.n_layers, model.n_heads), torch.nan)
    # argsort would put NaN first; stable, so that equal heads stay in order of layer and head.
    ranked = mean.flatten().nan_to_num(-torch.inf).argsort(descending=True, stable=True).tolist()
    flat = [head for head in ranked if not bool(mean.flatten()[head].isnan())][:k]
    scores = tuple(each.flatten(0, 1)[flat].mean(0) for each in vertical)
    top = tuple(divmod(head, model.n_heads) for head in flat)
    return ReceiverHeads(mean, top, scores, len(long_enough))
