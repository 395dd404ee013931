"""The activation store: what several models computed over the same tokens, kept on disk.

Dictionaries are trained on far more activations than fit into memory, and a pair can be compared
latent by latent only if both models read the same tokens. `capture` lets each model read all rows
and writes their activations, shard by shard::

    store = capture({"base": base, "post": post}, rows, [Site(3, "resid_post")], folder)
    next(store.batches("base", Site(3, "resid_post"), 1024, seed=0))     # [1024, d_in]
    next(store.pairs(Site(3, "resid_post"), 1024, seed=0))               # [1024, 2, d_in]

A folder holds ``manifest.json`` (models with the hashes of their weights, sites, widths, number
format, hashes of tokenizer and rows), ``tokens.safetensors`` (ids of all positions, and where each
row begins) and ``shard-N.safetensors`` (one tensor per model and site). A shard holds whole rows
and is either complete or absent, and batches never cross a shard. So a capture that was stopped
continues with the first missing row and ends with the same bytes. `capture` checks that the disk
has enough room before any model reads a token.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.engine import run
from interp.engine.batches import token_batches
from interp.files import describe_differences, read_json, write_file
from interp.models import Model
from interp.models.forward import check_rows
from interp.models.identity import hash_config
from interp.models.model import check_site, site_shape
from interp.models.shared_tokens import compare_tokenizers
from interp.models.token_ids import Rows, as_rows
from interp.progress import track
from interp.sites import Site, SiteOrName, as_site, as_sites, parse_site

FORMAT = "posthoc-store-1"
MANIFEST, TOKENS = "manifest.json", "tokens.safetensors"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
TOKEN_BUDGET = 16_384
"""Tokens read in one pass, padding included."""
POOLED_SHARDS = 4
"""Shards that are in memory together and shuffled as one."""
HEADER_BYTES = 4096
"""Allowance for the header of a file."""


@dataclass(frozen=True)
class Store:
    """A finished capture. Open one by `Store.open`."""

    folder: Path
    manifest: Mapping[str, Any]

    @staticmethod
    def open(folder: Path) -> Store:
        """Opens the store in a folder.

        Raises:
            ValueError: There is none, it is of another format, or its capture is not finished.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise ValueError(f"{folder} holds no {MANIFEST}, so it is no store. Make it by capture")
        store = Store(folder, read_json(path))
        if store.manifest.get("format") != FORMAT:
            raise ValueError(f"{path} is not of the format {FORMAT}. Capture into a new folder")
        missing = [n for n in range(store.n_shards) if not _shard(folder, n).is_file()]
        if missing:
            raise ValueError(
                f"the capture in {folder} is not finished: {len(missing)} of {store.n_shards} "
                f"shards are missing. Call capture with the same arguments; it goes on from there"
            )
        return store

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in the order of their axis in `pairs`."""
        return tuple(model["name"] for model in self.manifest["models"])

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites that were captured."""
        return tuple(parse_site(text) for text in self.manifest["sites"])

    @property
    def n_shards(self) -> int:
        """How many files hold activations."""
        return len(self.manifest["shards"])

    @property
    def n_tokens(self) -> int:
        """Positions of all rows together."""
        return int(self.manifest["n_tokens"])

    @property
    def tokens(self) -> Int[Tensor, " pos"]:
        """The token id of every stored position, row after row."""
        return self._table("ids")

    @property
    def offsets(self) -> Int[Tensor, " row"]:
        """Where each row begins; one more than there are rows, the last being `n_tokens`."""
        return self._table("offsets")

    def values(self, model: str, site: SiteOrName) -> Float[Tensor, "pos d_in"]:
        """All activations of one model at one site, in the order of `tokens`, in float32.

        Raises:
            ValueError: If the store has no such model or site.
        """
        site = self._checked(site, model)
        return torch.cat([self._read(n, site, (model,))[:, 0] for n in range(self.n_shards)])

    def batches(
        self, model: str, site: SiteOrName, batch_size: int, *, seed: int
    ) -> Iterator[Float[Tensor, "batch d_in"]]:
        """Shuffled activations of one model, without end; each epoch has every position once.

        Args:
            model: As in `models`.
            site: As in `sites`.
            batch_size: Every batch has this size: one may hold the end of an epoch and the
                beginning of the next.
            seed: Equal seeds give equal batches.

        Returns:
            An iterator over batches in float32.

        Raises:
            ValueError: If the store has no such model or site, or the size is not positive.
        """
        site = self._checked(site, model)
        # No `yield` here, so that errors are raised by the call and not by the first batch.
        return (batch[:, 0] for batch in self._batches(site, (model,), batch_size, seed))

    def pairs(
        self, site: SiteOrName, batch_size: int, *, seed: int
    ) -> Iterator[Float[Tensor, "batch model d_in"]]:
        """As `batches`, with the activations of all models at the same positions side by side."""
        site = self._checked(site)
        return self._batches(site, self.models, batch_size, seed)

    def _batches(
        self, site: Site, models: Sequence[str], batch_size: int, seed: int
    ) -> Iterator[Float[Tensor, "batch model d_in"]]:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, received {batch_size}")
        return _in_batches(self._shuffled(site, models, seed), batch_size)

    def _shuffled(self, site: Site, models: Sequence[str], seed: int) -> Iterator[Tensor]:
        """All positions in random order, a few shards at a time, epoch after epoch."""
        generator = torch.Generator().manual_seed(seed)
        while True:
            order = torch.randperm(self.n_shards, generator=generator).tolist()
            for start in range(0, len(order), POOLED_SHARDS):
                pool = order[start : start + POOLED_SHARDS]
                values = torch.cat([self._read(n, site, models) for n in pool])
                yield values[torch.randperm(len(values), generator=generator)]

    def _read(
        self, number: int, site: Site, models: Sequence[str]
    ) -> Float[Tensor, "pos model d_in"]:
        from safetensors import safe_open

        with safe_open(str(_shard(self.folder, number)), framework="pt") as file:
            values = [file.get_tensor(_key(model, site)).float() for model in models]
        return torch.stack(values, dim=1)

    def _table(self, name: str) -> Tensor:
        from safetensors import safe_open

        with safe_open(str(self.folder / TOKENS), framework="pt") as file:
            return file.get_tensor(name)

    def _checked(self, named: SiteOrName, model: str | None = None) -> Site:
        if model is not None and model not in self.models:
            raise ValueError(f"the store has the models {list(self.models)}, received {model!r}")
        if (site := as_site(named)) not in self.sites:
            known = map(str, self.sites)
            raise ValueError(f"the store has the sites {', '.join(known)}, received {site}")
        return site


def capture(
    models: Mapping[str, Model],
    rows: Rows,
    sites: Sequence[SiteOrName],
    folder: Path,
    *,
    shard_tokens: int = 65_536,
    dtype: str = "float32",
    progress: str | None = None,
) -> Store:
    """Lets each model read all rows and keeps what it computes at the sites.

    Args:
        models: Name in the store -> model.
        rows: Token ids of each text.
        sites: Where. A site with heads gives them side by side, as one vector.
        folder: Made with its parents. A capture of the same things that was stopped here goes on.
        shard_tokens: Positions of one file, about: rows are never cut.
        dtype: Number format of the files: 'float32', 'float16' or 'bfloat16'.
        progress: Label of a progress bar; None shows none.

    Returns:
        The store.

    Raises:
        ValueError: If a row or a site does not fit a model, widths or tokenizers differ, a value
            is too large for the number format, or the folder holds another capture.
        OSError: If the disk has not enough room (before any work), or cannot be written to.
    """
    tokenizer = next(iter(models.values())).tokenizer if models else None  # all have the same one
    texts, places = as_rows(rows, "row", tokenizer), as_sites(sites)
    manifest = _manifest(models, texts, places, shard_tokens, dtype)
    _prepare(folder, manifest, texts)
    todo = [n for n in range(len(manifest["shards"])) if not _shard(folder, n).exists()]
    for number in track(todo, progress):
        first, last = manifest["shards"][number]["rows"]
        _write_shard(_shard(folder, number), models, texts[first:last], places, DTYPES[dtype])
    return Store.open(folder)


def _manifest(
    models: Mapping[str, Model],
    rows: Sequence[Sequence[int]],
    sites: Sequence[Site],
    shard_tokens: int,
    dtype: str,
) -> dict[str, Any]:
    """What determines the bytes of a capture."""
    if not models or not rows or not sites or len(set(sites)) < len(sites):
        raise ValueError(
            f"a capture needs models, rows and sites, no site twice; received {len(models)} "
            f"models, {len(rows)} rows and {len(sites)} sites ({len(set(sites))} different)"
        )
    if dtype not in DTYPES or shard_tokens < 1:
        asked = f"{dtype!r} and {shard_tokens}"
        raise ValueError(
            f"dtype is one of {', '.join(DTYPES)}, shard_tokens >= 1; received {asked}"
        )
    for model in models.values():
        for site in sites:
            check_site(model, site)
        check_rows(model, rows, "row")
    widths = {str(site): _common_width(models, site) for site in sites}
    first, *others = models.values()
    for other in others:  # else the same ids are not the same text
        compare_tokenizers(first, other)
    shards = _shards([len(row) for row in rows], shard_tokens)
    return {
        "format": FORMAT,
        "models": [
            {"name": name, "model": model.name, "weights_sha256": model.weights_sha256,
             "config_sha256": hash_config(model.hf),
             "dtype": str(model.dtype).removeprefix("torch.")}
            for name, model in models.items()
        ],
        "sites": [str(site) for site in sites],
        "widths": widths,
        "dtype": dtype,
        "tokenizer_sha256": _sha256(first.tokenizer.get_vocab()),
        "rows_sha256": _sha256([list(row) for row in rows]),
        "n_rows": len(rows),
        "n_tokens": sum(len(row) for row in rows),
        "shards": shards,
    }  # fmt: skip


def _common_width(models: Mapping[str, Model], site: Site) -> int:
    widths = {name: math.prod(site_shape(model, site)) for name, model in models.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(
            f"activations of several models stand side by side, so their widths must agree; at "
            f"{site} they are {widths}. Capture the models into stores of their own"
        )
    return next(iter(widths.values()))


def _shards(lengths: Sequence[int], shard_tokens: int) -> list[dict[str, Any]]:
    """Rows of each shard: as many as fit, at least one."""
    shards: list[dict[str, Any]] = []
    for number, length in enumerate(lengths):
        if shards and shards[-1]["n_tokens"] + length <= shard_tokens:
            shards[-1]["rows"][1] = number + 1
            shards[-1]["n_tokens"] += length
        else:
            shards.append({"rows": [number, number + 1], "n_tokens": length})
    return shards


def _prepare(folder: Path, manifest: Mapping[str, Any], rows: Sequence[Sequence[int]]) -> None:
    """Makes the folder or continues in it, with room for what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MANIFEST
    if path.exists():
        old = read_json(path)
        differing = describe_differences({key: old.get(key) for key in manifest}, dict(manifest))
        if differing:
            raise ValueError(
                f"{folder} holds a capture of something else: {'; '.join(differing)}. One folder "
                f"holds one capture: name another folder, or delete this one"
            )
    for draft in folder.glob(".*.safetensors.*"):  # left by a capture that was killed
        draft.unlink()
    _check_room(folder, manifest)
    write_file(path, (json.dumps(manifest, indent=1) + "\n").encode())
    if not (folder / TOKENS).exists():
        from safetensors.torch import save

        ids = torch.tensor([token for row in rows for token in row], dtype=torch.int32)
        offsets = torch.tensor([0, *accumulate(len(row) for row in rows)], dtype=torch.int64)
        write_file(folder / TOKENS, save({"ids": ids, "offsets": offsets}))


def _check_room(folder: Path, manifest: Mapping[str, Any]) -> None:
    per_token = sum(manifest["widths"].values()) * len(manifest["models"])
    needed = sum(
        shard["n_tokens"] * per_token * DTYPES[manifest["dtype"]].itemsize + HEADER_BYTES
        for number, shard in enumerate(manifest["shards"])
        if not _shard(folder, number).exists()
    )
    if not (folder / TOKENS).exists():
        # Ids are int32, offsets int64.
        needed += 4 * manifest["n_tokens"] + 8 * (manifest["n_rows"] + 1) + HEADER_BYTES
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"the capture needs {needed / 1e6:.1f} MB more in {folder}, and the disk has "
            f"{free / 1e6:.1f} MB free; nothing was computed. Make room, or capture fewer rows or "
            f"sites, or in float16",
        )


def _write_shard(
    path: Path,
    models: Mapping[str, Model],
    rows: Sequence[Sequence[int]],
    sites: Sequence[Site],
    dtype: torch.dtype,
) -> None:
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    ends = list(accumulate((len(row) for row in rows), initial=0))
    for name, model in models.items():
        for site in sites:
            shape = (ends[-1], math.prod(site_shape(model, site)))
            tensors[_key(name, site)] = torch.empty(shape, dtype=dtype)
        for batch in token_batches([len(row) for row in rows], TOKEN_BUDGET):
            read = run(model, [rows[n] for n in batch], capture=sites, logits_at="last")
            for site in sites:
                for n, values in zip(batch, read.captures[site], strict=True):
                    tensors[_key(name, site)][ends[n] : ends[n + 1]] = values.flatten(1).to(dtype)
    for key, values in tensors.items():  # after conversion: float16 ends at 65504
        if not bool(torch.isfinite(values).all()):
            raise ValueError(
                f"activations of {key} are too large for {dtype}, or not finite in the model. Use "
                f"dtype='float32'"
            )
    write_file(path, save(tensors))


def _in_batches(blocks: Iterator[Tensor], batch_size: int) -> Iterator[Tensor]:
    """Blocks cut into batches of one size; the rest of a block opens the next batch."""
    left: list[Tensor] = []
    for block in blocks:
        values = torch.cat([*left, block])
        cuts = range(0, len(values) + 1, batch_size)
        yield from (values[start:end] for start, end in pairwise(cuts))
        left = [values[cuts[-1] :]]


def _key(model: str, site: Site) -> str:
    return f"{model}/{site}"


def _shard(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.safetensors"


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
