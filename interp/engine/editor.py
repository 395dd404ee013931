"""Editor: applies the interventions of a batch together, and checks that each took place.

An `Editor` knows which positions of which row each intervention edits. Before every pass `move`
tells it which row and position each column of the tensors holds, since padding, caches and finished
rows make these differ from pass to pass. At a site it gathers all edits of one kind from all
rows, applies the operator once, and puts the results into a copy of the activation, one copy
however many groups there are. Operators compute in float32 (or wider) whatever the model's number
format, so that a dose is never rounded before it is used; the result is rounded once.

Interventions at one site act in the order given: those whose operators are equal and that touch
different places form one group; any other begins a new one. The records cost time in proportion to
the number of edits, so that a batch may hold thousands of rows with an intervention each.

Every edit is recorded where it happens. `receipts` compares the records with the positions that the
interventions name, which are worked out apart from the hooks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod

import torch
from torch import Tensor

from interp.interventions import Intervention, Operator, Receipt, project_out
from interp.models.hooks import Handler
from interp.models.model import Model, check_site, site_shape
from interp.sites import Site


@dataclass(frozen=True)
class _Plan:
    """The positions of one row that one intervention edits."""

    prompt: tuple[int, ...]
    """Positions in the prompt, from 0 up, in the order of the intervention."""
    generated: bool
    n_prompt: int

    def positions(self, n_generated: int) -> list[int]:
        """All positions in order, when so many generated tokens were read."""
        end = self.n_prompt + n_generated if self.generated else self.n_prompt
        return sorted(self.prompt) + list(range(self.n_prompt, end))


@dataclass(frozen=True, eq=False)
class _Group:
    """Edits of one operator at one site that are applied in one go."""

    operator: Operator
    place: tuple[Tensor, ...]
    """Index tensors: batch, column, and the head where only one is edited."""
    vectors: Tensor
    """One per edit; of norm 1 for `project_out` and for doses in norms."""
    doses: Tensor
    in_norms: Tensor
    owners: list[tuple[int, int, int]]
    """(intervention, batch, column) of each edit."""


@dataclass(frozen=True)
class _Draft:
    """A group while it is put together."""

    operator: Operator
    in_heads: bool
    edits: list[tuple[int, int, int, int]] = field(default_factory=list[tuple[int, int, int, int]])
    """(intervention, batch, column, row of its vector table)."""
    taken: set[tuple[int, int, int | None]] = field(
        default_factory=set[tuple[int, int, int | None]]
    )
    """Places that it edits: batch, column, head."""


@dataclass(frozen=True, eq=False)
class _Entry:
    """The edits of a group in one pass."""

    group: _Group
    rows: tuple[int, ...]
    first: tuple[int, ...]
    edit_norm: Tensor
    share: Tensor


def _listed_positions(
    number: int, positions: tuple[int, ...], row: int, length: int
) -> tuple[int, ...]:
    counted = tuple(position + length if position < 0 else position for position in positions)
    if not all(0 <= position < length for position in counted):
        raise ValueError(
            f"intervention {number} asks for positions {positions}, but row {row} has {length} "
            f"tokens (padding not counted): use 0 to {length - 1}, or -{length} to -1"
        )
    if len(set(counted)) < len(counted):
        raise ValueError(
            f"intervention {number} asks twice for one position of row {row}: {positions} of "
            f"{length} tokens"
        )
    return counted


def _plan(number: int, intervention: Intervention, row: int, length: int, writes: bool) -> _Plan:
    positions = intervention.positions
    if positions == "generated" and not writes:
        raise ValueError(
            f"intervention {number} edits generated tokens, but nothing is generated here. Use "
            f"positions='all', `generate`, or `run` with the prompt_lengths of generated rows"
        )
    if isinstance(positions, tuple):
        return _Plan(_listed_positions(number, positions, row, length), False, length)
    prompt = () if positions == "generated" else tuple(range(length))
    return _Plan(prompt, writes and positions != "prompt", length)


def _vector_table(model: Model, number: int, intervention: Intervention) -> Tensor:
    """The vector of an intervention as rows: one, or one per listed position."""
    shape = site_shape(model, intervention.site)
    if intervention.head is not None:
        if not 0 <= intervention.head < shape[0]:
            raise ValueError(
                f"intervention {number}: {intervention.site} has heads 0 to {shape[0] - 1}, "
                f"received {intervention.head}"
            )
        shape = shape[1:]
    width, dtype = prod(shape), torch.promote_types(model.dtype, torch.float32)
    if intervention.vector is None:
        return torch.zeros(1, width, device=model.device, dtype=dtype)
    vector = intervention.vector.to(model.device, dtype)
    listed = intervention.positions
    per_position = isinstance(listed, tuple) and tuple(vector.shape) == (len(listed), *shape)
    if not per_position and tuple(vector.shape) != shape:
        also = f", or {(len(listed), *shape)}" if isinstance(listed, tuple) else ""
        raise ValueError(
            f"intervention {number}: a vector for {intervention.site} of {model.name} has shape "
            f"{shape}{also}; received {tuple(vector.shape)}"
        )
    vectors = vector.reshape(-1, width)
    directional = intervention.operator is project_out or intervention.unit == "norms"
    return _directions(vectors) if directional else vectors


def _directions(vectors: Tensor) -> Tensor:
    """Unit vectors; scaled by the largest entry first, whose square may be out of range."""
    vectors = vectors / vectors.abs().amax(-1, keepdim=True)
    return vectors / vectors.norm(dim=-1, keepdim=True)


def _alike(one: Operator, other: Operator) -> bool:
    """Equal; hashes first, because records that hold different tensors cannot be compared."""
    return one is other or (hash(one) == hash(other) and one == other)


def check_rows_exist(interventions: Sequence[Intervention], n_rows: int) -> None:
    """Raises ValueError if an intervention names a row that is not there."""
    for number, intervention in enumerate(interventions):
        wrong = [row for row in intervention.rows or () if not 0 <= row < n_rows]
        if wrong:
            raise ValueError(
                f"intervention {number} names rows {wrong}, but there are {n_rows} rows, "
                f"0 to {n_rows - 1}"
            )


class Editor:
    """Applies interventions to the rows of one batch and records every edit."""

    def __init__(
        self,
        model: Model,
        interventions: Sequence[Intervention],
        lengths: Mapping[int, int],
        *,
        writes: bool,
        written: Mapping[int, int] | None = None,
    ) -> None:
        """Works out which positions of each row are edited.

        Args:
            model: The model to edit.
            interventions: In the order in which they act.
            lengths: Row number -> prompt tokens, for the rows of this batch.
            writes: Whether tokens will be generated, or were.
            written: Row number -> generated tokens that the pass over the prompt reads with it;
                None where each is read as it is written.

        Raises:
            ValueError: If a site, position, head or vector does not fit the model or a row.
        """
        self._model = model
        self._interventions = interventions
        self._written = written or {}
        self._tables: list[Tensor] = []
        self._plans: list[dict[int, _Plan]] = []
        for number, intervention in enumerate(interventions):
            check_site(model, intervention.site)
            self._tables.append(_vector_table(model, number, intervention))
            asked = lengths if intervention.rows is None else intervention.rows
            self._plans.append(
                {
                    row: _plan(number, intervention, row, lengths[row], writes)
                    for row in asked
                    if row in lengths  # interventions may name rows of other batches
                }
            )
        self._groups: dict[Site, list[_Group]] = {}
        self._window: tuple[tuple[int, ...], bool] | None = None
        self._first: tuple[int, ...] = ()
        self._entries: list[_Entry] = []

    def handlers(self) -> list[tuple[Site, Handler]]:
        """One handler per site, for `hooked`."""
        sites = dict.fromkeys(intervention.site for intervention in self._interventions)
        return [(site, partial(self._edit, site)) for site in sites]

    def move(self, rows: Sequence[int], first: Sequence[int], *, decoding: bool) -> None:
        """Sets what the columns of the next pass hold.

        Args:
            rows: Row number of each entry of the batch.
            first: Position of the first column of each; negative where padding comes first.
            decoding: Whether the pass reads one generated token per row (else whole prompts).
        """
        self._first = tuple(first)
        window = (tuple(rows), decoding)
        # While decoding each row has one column, so the groups hold until a row leaves.
        if window == self._window and decoding:
            return
        self._window = window
        chains: dict[Site, list[_Draft]] = {}
        batch_of = {row: batch for batch, row in enumerate(rows)}
        for number, intervention in enumerate(self._interventions):
            edits = self._edits(number, batch_of, decoding)
            if not edits:
                continue
            chain = chains.setdefault(intervention.site, [])
            head = intervention.head
            places = {(batch, column, head) for batch, column, _ in edits}
            # Only the last group may grow: joining an earlier one would change the order of action.
            if not (
                chain
                and _alike(chain[-1].operator, intervention.operator)
                and chain[-1].in_heads == (head is not None)
                and chain[-1].taken.isdisjoint(places)
            ):
                chain.append(_Draft(intervention.operator, head is not None))
            chain[-1].edits.extend((number, *edit) for edit in edits)
            chain[-1].taken.update(places)
        self._groups = {
            site: [self._make_group(draft) for draft in chain] for site, chain in chains.items()
        }

    def _edits(
        self, number: int, batch_of: Mapping[int, int], decoding: bool
    ) -> list[tuple[int, int, int]]:
        """(batch, column, row of the vector table) of each edit of an intervention in this pass."""
        shared = self._tables[number].shape[0] == 1
        edits: list[tuple[int, int, int]] = []
        for row, plan in self._plans[number].items():
            batch = batch_of.get(row)
            if batch is None:
                continue
            if decoding:
                edits += [(batch, 0, 0)] if plan.generated else []
                continue
            start = self._first[batch]
            edits += [
                (batch, position - start, 0 if shared else place)
                for place, position in enumerate(plan.prompt)
            ]
            if plan.generated:  # spans have one vector for all positions
                edits += [
                    (batch, plan.n_prompt + n - start, 0) for n in range(self._written.get(row, 0))
                ]
        return edits

    def _make_group(self, draft: _Draft) -> _Group:
        device = self._model.device
        members = dict.fromkeys(number for number, *_ in draft.edits)
        starts: dict[int, int] = {}
        n_vectors = 0
        for number in members:
            starts[number] = n_vectors
            n_vectors += self._tables[number].shape[0]
        of_edit = [self._interventions[number] for number, *_ in draft.edits]
        place = [
            torch.tensor([edit[axis] for edit in draft.edits], device=device) for axis in (1, 2)
        ]
        if draft.in_heads:
            place.append(torch.tensor([member.head for member in of_edit], device=device))
        table = torch.cat([self._tables[number] for number in members])
        picked = torch.tensor([starts[edit[0]] + edit[3] for edit in draft.edits], device=device)
        return _Group(
            draft.operator,
            tuple(place),
            table[picked],
            torch.tensor([member.dose for member in of_edit], device=device, dtype=table.dtype)[
                :, None
            ],
            torch.tensor([member.unit == "norms" for member in of_edit], device=device)[:, None],
            [edit[:3] for edit in draft.edits],
        )

    def _edit(self, site: Site, activation: Tensor) -> Tensor | None:
        groups = self._groups.get(site, ())
        if not groups:
            return None
        edited = activation.clone()
        for group in groups:
            self._apply(group, edited)
        return edited

    def _apply(self, group: _Group, edited: Tensor) -> None:
        """Writes the edits of a group into a tensor that is the editor's own."""
        picked = edited[group.place]
        before = picked.flatten(1).to(group.vectors.dtype)
        norm = before.norm(dim=-1, keepdim=True)
        doses = torch.where(group.in_norms, group.doses * norm, group.doses)
        after = group.operator(before, group.vectors, doses).to(picked.dtype)
        edit_norm = (after.to(before.dtype) - before).norm(dim=-1)
        share = torch.where(edit_norm == 0, edit_norm, edit_norm / norm[:, 0])  # 0 / 0 would be NaN
        assert self._window is not None
        self._entries.append(_Entry(group, self._window[0], self._first, edit_norm, share))
        edited.index_put_(group.place, after.reshape(picked.shape))

    def receipts(self, n_generated: Mapping[int, int]) -> list[Receipt]:
        """Compares the recorded edits with the positions that the interventions name.

        Args:
            n_generated: Row number -> generated tokens that were read one by one.

        Returns:
            One receipt per intervention and row.

        Raises:
            RuntimeError: If a position was missed, edited twice, or edited without being named.
        """
        seen: list[dict[int, list[tuple[int, float, float]]]] = [
            {row: [] for row in plans} for plans in self._plans
        ]
        for entry in self._entries:
            # Fetched only here: during the pass every fetch would make it wait for a GPU.
            norms = zip(entry.edit_norm.tolist(), entry.share.tolist(), strict=True)
            for (number, batch, column), (norm, share) in zip(
                entry.group.owners, norms, strict=True
            ):
                position = entry.first[batch] + column
                seen[number][entry.rows[batch]].append((position, norm, share))
        receipts: list[Receipt] = []
        asked = [
            (number, row, plan)
            for number, plans in enumerate(self._plans)
            for row, plan in plans.items()
        ]
        for number, row, plan in asked:
            edits = sorted(seen[number][row])
            positions = [position for position, _, _ in edits]
            site = self._interventions[number].site
            n_read = n_generated.get(row, 0) + self._written.get(row, 0)
            _compare(number, row, site, positions, plan.positions(n_read))
            mean = [
                sum(edit[i] for edit in edits) / len(edits) if edits else float("nan")
                for i in (1, 2)
            ]
            receipts.append(Receipt(number, row, site, tuple(positions), mean[0], mean[1]))
        return receipts


def _compare(number: int, row: int, site: Site, edited: list[int], expected: list[int]) -> None:
    if edited != expected:
        missed = sorted(set(expected) - set(edited))
        raise RuntimeError(
            f"intervention {number} at {site} should have edited {len(expected)} positions of row "
            f"{row} once each, and edited {len(edited)}; missed: {missed[:8]}. Likely the model "
            f"does not compute this site once per token. The results are void"
        )
