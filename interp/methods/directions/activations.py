"""Activations: what a model computed at one site, at positions that the caller chose.

Every fit of a direction depends on a choice of positions and texts. `Activations` keeps it with the
numbers: the token that was read at each position, the problem that it belongs to (the unit that a
hold-out must not cut), and checksums of weights and texts::

    site = Site(5, "resid_post")
    before = [window_before(starts) for starts in labelled]      # five tokens, twelve before
    positive = collect(model, rows, before, site)
    negative = collect(model, rows, elsewhere, site)

`window_before` is the choice of Ward et al. (arXiv 2507.12638): a window of 5 tokens that starts 12
tokens before a labelled behaviour, so that a direction represents what *leads to* the behaviour and
not the words in which it is written. `span_and_before` is that of Venhoff et al. (arXiv
2506.18167): the span and the token before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.engine import run
from interp.engine.batches import token_batches
from interp.errors import NotMeasurableError
from interp.models import Model
from interp.models.model import check_site
from interp.models.token_ids import Rows, as_rows
from interp.sites import Site, SiteOrName

TOKEN_BUDGET = 16_384
"""Tokens read in one pass, padding included."""


@dataclass(frozen=True, eq=False)
class Activations:
    """Activations at one site, one row per chosen position."""

    values: Float[Tensor, "example d_model"]
    """In float32, on the CPU."""
    tokens: tuple[int, ...]
    """The token read at each position."""
    problems: tuple[Hashable, ...]
    """The independent unit that each position belongs to."""
    site: Site
    model: str
    weights_sha256: str
    texts_sha256: str
    """Of the token ids of all texts and the chosen positions."""

    @property
    def mean_norm(self) -> float:
        """Mean norm over the positions."""
        return float(self.values.norm(dim=-1).mean())


def collect(
    model: Model,
    rows: Rows,
    positions: Sequence[Sequence[int]],
    site: SiteOrName,
    *,
    problems: Sequence[Hashable] | None = None,
) -> Activations:
    """Reads texts and keeps the activations at chosen positions.

    Args:
        model: The reader.
        rows: Token ids of each text.
        positions: For each text the positions that are kept; negative ones count from its end. A
            text may have none.
        site: A stream with one vector per position (not q, k, v or z).
        problems: The independent unit of each text; by default the text itself.

    Returns:
        The activations, text after text.

    Raises:
        NotMeasurableError: If no position is left.
        ValueError: If lists differ in length, a position does not exist, or the site has heads.
    """
    site, rows = check_site(model, site), as_rows(rows, "text", model.tokenizer)
    if site.axes[-1] == "d_head":
        raise ValueError(
            f"a direction lives in a stream with one vector per position, and {site} has one per "
            f"head. Use attn_out, the sum of what the heads write, or a residual stream"
        )
    if len(rows) != len(positions) or (problems is not None and len(problems) != len(rows)):
        raise ValueError(
            f"every text needs its positions (and its problem, if problems are given); received "
            f"{len(rows)} texts, {len(positions)} lists of positions"
            + ("" if problems is None else f" and {len(problems)} problems")
        )
    chosen = [_checked(n, len(row), positions[n]) for n, row in enumerate(rows)]
    if not any(chosen):
        raise NotMeasurableError(
            "no position was chosen in any text. Likely every window ends before the first token, "
            "or no text shows the behaviour: choose others, e.g. window_before(starts, offset=2)"
        )
    units = list(problems) if problems is not None else [_sha256(list(row)) for row in rows]
    read = [n for n, at in enumerate(chosen) if at]
    values: dict[int, Tensor] = {}
    for batch in token_batches([len(rows[n]) for n in read], TOKEN_BUDGET):
        numbers = [read[place] for place in batch]
        seen = run(model, [rows[n] for n in numbers], capture=[site], logits_at="last").captures
        for n, activation in zip(numbers, seen[site], strict=True):
            values[n] = activation[list(chosen[n])].float().cpu()
    return Activations(
        values=torch.cat([values[n] for n in read]),
        tokens=tuple(rows[n][at] for n in read for at in chosen[n]),
        problems=tuple(units[n] for n in read for _ in chosen[n]),
        site=site,
        model=model.name,
        weights_sha256=model.weights_sha256,
        texts_sha256=_sha256([[list(rows[n]), list(chosen[n])] for n in read]),
    )


def window_before(
    starts: Sequence[int], *, offset: int = 12, length: int = 5, first: int = 0
) -> tuple[int, ...]:
    """Positions in windows before labelled spans (Ward et al. 2025, arXiv 2507.12638).

    Args:
        starts: First position of each span.
        offset: How many tokens before the span its window starts.
        length: Tokens of a window; it may not reach into its span.
        first: Positions before this one (a BOS token, the question) are left out.

    Returns:
        The positions, sorted, each once where windows overlap.

    Raises:
        ValueError: If a window is empty or would reach into its span.
    """
    if not 0 < length <= offset:
        raise ValueError(
            f"a window before a span has 1 to `offset` tokens, received length {length} and "
            f"offset {offset}. With offset=12, length may be 1 to 12"
        )
    positions = {start - offset + k for start in starts for k in range(length)}
    return tuple(sorted(at for at in positions if at >= first))


def span_and_before(spans: Sequence[tuple[int, int]], *, before: int = 1) -> tuple[int, ...]:
    """Positions of labelled spans and of the tokens before them (Venhoff et al., arXiv 2506.18167).

    Args:
        spans: (first, one past the last) position of each.
        before: Tokens before each span that are taken too.

    Returns:
        The positions, sorted, each once.
    """
    return tuple(sorted({at for start, end in spans for at in range(max(0, start - before), end)}))


def _checked(number: int, length: int, positions: Sequence[int]) -> tuple[int, ...]:
    counted = tuple(at + length if at < 0 else at for at in positions)
    if not all(0 <= at < length for at in counted) or len(set(counted)) < len(counted):
        raise ValueError(
            f"text {number} has {length} tokens; its positions must be 0 to {length - 1} or "
            f"-{length} to -1, none twice; received {tuple(positions)}"
        )
    return counted


def _sha256(content: list[object]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
