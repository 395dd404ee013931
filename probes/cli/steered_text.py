"""What `posthoc steer` prints: text with and without a direction, its coherence, a dose sweep.

The direction comes from a file of vectors or from a latent of an SAE. Where the file does not know
the mean residual norm of its site, the unit of doses, it is measured on the prompts, over all
positions but the first (which often holds an outsized norm and takes part in nothing).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interp.chains.completion_format import find_format
from interp.chains.texts import encode_beginning
from interp.interventions import Positions
from interp.methods.directions import Direction, check_fits, collect, logit_lens, with_reference
from interp.methods.steering import (
    DoseRow,
    SweepSettings,
    Written,
    compare,
    compression_ratio,
    distinct_n,
    read_steered,
    surprisal,
    sweep,
    write_steered,
)
from interp.methods.vector_cards import load_latent, load_vector
from interp.models import Model
from interp.models.token_ids import stop_sequences
from interp.sites import parse_site
from interp.tasks import Task

SPANS: dict[str, Positions] = {
    "all": "all", "prompt": "prompt", "generated": "generated", "last": (-1,)
}  # fmt: skip
"""Where a direction can be added, by the name on the command line."""


def read_direction(
    *,
    vector: Path | None,
    sae: Path | None,
    latent: int | None,
    site: str | None,
    layer: int | None,
) -> Direction:
    """The direction that a command line names: a file of vectors, or a latent of an SAE.

    Raises:
        ValueError: If it names none or two, or an SAE without a latent.
    """
    if (vector is None) == (sae is None):
        raise ValueError(
            "one direction is added: name a file by --vector FILE, or a latent by --sae DIR "
            "--latent N"
        )
    if vector is not None:
        return load_vector(vector, site=None if site is None else parse_site(site), layer=layer)
    if sae is None or latent is None:
        raise ValueError("an SAE has many latents: name one by --latent N")
    return load_latent(sae, latent)


def find_positions(name: str) -> Positions:
    """Positions by their name.

    Raises:
        ValueError: If the name is unknown.
    """
    if name not in SPANS:
        raise ValueError(f"--positions is one of {', '.join(SPANS)}, received {name!r}")
    return SPANS[name]


def with_measured_norm(
    model: Model, direction: Direction, rows: Sequence[Sequence[int]]
) -> Direction:
    """The direction with a reference norm: its own, or that of the model on these texts.

    Raises:
        ValueError: If the direction does not fit the model.
    """
    check_fits(model, direction)
    if direction.reference_norm is not None:
        return direction
    # A text of one token has no other position than its first.
    positions = [range(min(1, len(row) - 1), len(row)) for row in rows]
    return with_reference(direction, collect(model, rows, positions, direction.site).mean_norm)


def compare_texts(
    model: Model,
    direction: Direction,
    dose: float,
    prompts: Sequence[str],
    positions: Positions,
    max_new_tokens: int,
) -> list[str]:
    """Unsteered and steered text of every prompt, with receipt and coherence, in lines.

    Args:
        model: The writer.
        direction: What is added, with or without a reference norm.
        dose: In mean residual norms.
        prompts: Texts, as they are encoded: nothing is added to them.
        positions: Where.
        max_new_tokens: Longest continuation.

    Returns:
        Lines to print.

    Raises:
        ValueError: If the direction does not fit the model, or a prompt has no tokens.
    """
    rows = [encode_beginning(model.tokenizer, prompt) for prompt in prompts]
    if not all(rows):
        raise ValueError("a prompt without tokens cannot be continued; give it some text")
    direction = with_measured_norm(model, direction, rows)
    lines = [_describe(model, direction, dose)]
    stop = stop_sequences(model.ends)
    plain, steered = (
        write_steered(
            model,
            rows,
            direction,
            at,
            max_new_tokens=max_new_tokens,
            positions=positions,
            stop=stop,
        )
        for at in (0.0, dose)
    )
    texts = [(row, one.ids) for row, one in zip(rows, plain, strict=True)]
    # KL is read along the unsteered text, which is the same at every dose.
    kl = [one.kl for one in read_steered(model, texts, direction, dose, positions=positions)]
    odd = surprisal(model, [(row, one.ids) for row, one in zip(rows, steered, strict=True)])
    for at, prompt in enumerate(prompts):
        lines += [f"prompt:    {prompt}", f"unsteered: {plain[at].text}"]
        lines += [f"steered:   {steered[at].text}", f"  {_receipt(steered[at])}"]
        lines.append(
            f"  KL to unsteered {kl[at]:.4f} nats per token; surprisal of the steered text "
            f"{odd[at]:.2f} nats per token; distinct bigrams {distinct_n(steered[at].ids):.2f} "
            f"(unsteered {distinct_n(plain[at].ids):.2f}); compression "
            f"{compression_ratio(steered[at].text):.2f} "
            f"(unsteered {compression_ratio(plain[at].text):.2f})"
        )
    return lines


def measure_doses(
    model: Model,
    direction: Direction,
    task: Task,
    settings: SweepSettings,
    out: Path,
    *,
    kl_budget: float,
) -> list[str]:
    """Measures a dose-response, and writes its table and figure.

    Args:
        model: The model that is steered.
        direction: What is added, with or without a reference norm.
        task: The questions.
        settings: Of the sweep.
        out: Folder for doses.parquet, doses.csv and the figure.
        kl_budget: Nats per token, first new token left out, within which doses are chosen.

    Returns:
        Lines to print.

    Raises:
        ValueError: If the direction does not fit the model.
    """
    from interp.files import write_file
    from interp.results.frames import to_frame
    from interp.results.plots import dose_response, save
    from interp.results.run_folder import write_rows

    out.mkdir(parents=True, exist_ok=True)
    rows_of_task = find_format(task, model, needs_chain=False).questions()
    direction = with_measured_norm(model, direction, rows_of_task)
    rows = sweep(model, task, direction, settings)
    behaviours = [name for name in ("p_think", "accuracy") if any(r.metric == name for r in rows)]
    write_rows(out / "doses.parquet", DoseRow, rows)
    write_file(out / "doses.csv", to_frame(rows).to_csv(index=False).encode())
    figure = dose_response(rows, metrics=(*behaviours, "kl_rest", "valid"))
    save(figure, out, "doses")
    return [*_table(rows, behaviours), *_verdicts(rows, behaviours, kl_budget), f"Written: {out}"]


def _describe(model: Model, direction: Direction, dose: float) -> str:
    source = direction.source
    text = f"{source.method} at {direction.site}; 1 dose = {direction.reference_norm:.3g}"
    if direction.site.axes[-1] == "d_model":  # the unembedding reads no other width
        top = " ".join(repr(token.text) for token in logit_lens(model, direction, n=5).top)
        text += f"; favours {top}"
    return f"{text}\ndose {dose:g} mean residual norms, {model.name}"


def _receipt(one: Written) -> str:
    receipt, n_prompt = one.receipt, len(one.prompt_ids)
    where = _ranges(receipt.positions)
    return (
        f"edited {receipt.n_positions} positions ({where}; the prompt has {n_prompt}); mean edit "
        f"{receipt.edit_norm:.3g}, {receipt.dose_in_norms:.3g} of the stream at these positions"
    )


def _ranges(positions: Sequence[int]) -> str:
    """Positions as ranges: 0-17, 20."""
    if not positions:
        return "none"
    starts = [at for at in positions if at - 1 not in set(positions)]
    ends = [at for at in positions if at + 1 not in set(positions)]
    return ", ".join(f"{a}-{b}" if a < b else str(a) for a, b in zip(starts, ends, strict=True))


def _table(rows: Sequence[DoseRow], behaviours: Sequence[str]) -> list[str]:
    from interp.methods.steering import random_band

    columns = [*behaviours, "kl", "kl_rest", "perplexity", "distinct_2", "valid"]
    lines = ["dose    " + "".join(f"{name:>22}" for name in columns)]
    mine = [row for row in rows if row.kind == "steered"]
    bands = {name: random_band(rows, name) for name in columns}
    for dose in sorted({row.dose for row in mine}):
        cells: list[str] = []
        for name in columns:
            value = next(r.value for r in mine if r.dose == dose and r.metric == name)
            low, high = bands[name].get(dose, (float("nan"), float("nan")))
            cells.append(f"{value:z.3f} [{low:z.3f}, {high:z.3f}]".rjust(22))
        lines.append(f"{dose:<8g}" + "".join(cells))
    return [*lines, "In brackets: lowest and highest of the random directions."]


def _verdicts(rows: Sequence[DoseRow], behaviours: Sequence[str], kl_budget: float) -> list[str]:
    lines: list[str] = []
    for metric in behaviours:
        for want in ("rise", "fall"):
            found = compare(rows, metric, kl_budget=kl_budget, want=want, cost="kl_rest")
            low, high = found.band
            lines.append(
                f"{metric}, to {want}, KL of the rest within {kl_budget:g}: "
                f"{found.chosen.effect:+.3f} at dose {found.chosen.dose:g} (KL "
                f"{found.chosen.kl:.3f}); random directions by the same rule {low:+.3f} to "
                f"{high:+.3f}; p = {found.p:.2f}"
            )
    return lines
