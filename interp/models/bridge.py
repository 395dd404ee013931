"""The bridge to TransformerLens: other architectures, attention patterns, notebooks written for it.

`interp.models.adapters` covers the families that experiments here run on. For any other model that
TransformerLens knows, for attention scores and patterns (fused attention never forms them), and for
code written with TransformerLens hooks, a `Bridge` wraps its `TransformerBridge`::

    bridge = open_bridge(hf)
    logits, cache = bridge.run_with_cache(ids, ["blocks.0.attn.hook_pattern"])
    logits = bridge.run_with_hooks(ids, [("blocks.3.hook_resid_post", lambda x, hook: x + vector)])

It refuses or mends what `TransformerBridge` (3.9) does silently wrong:

- some of its methods ignore a name that no hook point has; here that is always an error, and so is
  a hook point that never fired;
- an edit at `hook_resid_mid` reaches the MLP and not the skip connection, since the name stands for
  the input of a norm; here it may be read, and writing raises;
- wrapping a module takes it apart; here the bridge gets a copy of the weights;
- texts get a beginning-of-text token, rows of unequal length go unmasked; here token ids are read,
  in rows of one length, or with their mask.

When it is opened, its logits are compared with those of the model. Interventions with receipts,
branches and generation are the business of `interp.engine`, which runs on the model itself.
"""

from __future__ import annotations

import copy
import logging
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.models.folders import find_folder
from interp.models.loading import load_parts
from interp.models.model import Model

Hook = Callable[..., Tensor | None]
"""As in TransformerLens: called with the activation and the keyword `hook`."""


@dataclass(frozen=True, eq=False)
class Bridge:
    """A `TransformerBridge` with checks around its hooks."""

    lens: Any
    """The TransformerBridge, for anything not offered here; its own methods are not guarded."""
    _in_use: Any = field(default_factory=threading.RLock, repr=False)
    """Held during a pass: hooks of TransformerLens would act on the passes of all threads."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all hook points, with their aliases."""
        return tuple(self.lens.hook_dict)

    @torch.no_grad()
    def run_with_hooks(
        self,
        ids: Int[Tensor, "batch pos"],
        fwd_hooks: Sequence[tuple[str, Hook]],
        *,
        attention_mask: Int[Tensor, "batch pos"] | None = None,
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Reads tokens with hooks.

        Args:
            ids: Token ids.
            fwd_hooks: Pairs of a hook name and a function of the activation and `hook`, which
                returns the activation to use instead, or None.
            attention_mask: 1 for tokens and 0 for padding; needed if there is any.

        Returns:
            Logits.

        Raises:
            ValueError: If a name is unknown, or a hook writes to `hook_resid_mid`.
            RuntimeError: If a hook never fired.
        """
        points: dict[str, Any] = self.lens.hook_dict
        unknown = [name for name, _ in fwd_hooks if name not in points]
        if unknown:
            layers = [name.removeprefix("blocks.0.") for name in points if "blocks.0." in name]
            raise ValueError(
                f"no hook point is called {unknown[0]!r}. Outside the blocks there are "
                f"{', '.join(name for name in points if 'blocks.' not in name)}; in a block, as "
                f"'blocks.0.' and: {', '.join(layers)}"
            )
        fired: set[str] = set()
        guarded = [(name, _guard(name, points[name], hook, fired)) for name, hook in fwd_hooks]
        with self._in_use:
            logits = self.lens.run_with_hooks(ids, fwd_hooks=guarded, attention_mask=attention_mask)
        silent = [name for name, _ in fwd_hooks if name not in fired]
        if silent:
            raise RuntimeError(
                f"these hook points exist but were never computed: {', '.join(silent)}. This "
                f"architecture has no use for them"
            )
        return logits

    def run_with_cache(
        self,
        ids: Int[Tensor, "batch pos"],
        names: Sequence[str],
        *,
        attention_mask: Int[Tensor, "batch pos"] | None = None,
    ) -> tuple[Float[Tensor, "batch pos d_vocab"], dict[str, Tensor]]:
        """Reads tokens and keeps activations.

        Args:
            ids: Token ids.
            names: Hook names whose activations are kept.
            attention_mask: 1 for tokens and 0 for padding; needed if there is any.

        Returns:
            Logits, and per name a copy of its activation.

        Raises:
            ValueError: If a name is unknown.
            RuntimeError: If a hook point was never computed.
        """
        cache: dict[str, Tensor] = {}

        def keep(name: str) -> Hook:
            def store(activation: Tensor, hook: Any) -> None:  # noqa: ARG001
                cache[name] = activation.clone()

            return store

        hooks = [(name, keep(name)) for name in names]
        return self.run_with_hooks(ids, hooks, attention_mask=attention_mask), cache


def _guard(name: str, point: Any, hook: Hook, fired: set[str]) -> Hook:
    """Wraps a hook: records that it ran, and refuses an edit that would go wrong."""
    # A point of another name means that this name is only an alias for it.
    read_only = name.endswith("hook_resid_mid") and point.name != name

    def run(activation: Tensor, hook: Any, inner: Hook = hook) -> Tensor | None:
        fired.add(name)
        version = activation._version  # counts writes in place, which return nothing
        changed = inner(activation, hook=hook)
        if read_only and (changed is not None or activation._version != version):
            raise ValueError(
                f"{name} stands for {point.name} and may only be read: an edit would reach the MLP "
                f"but not the skip connection. Add the change to "
                f"{name.replace('resid_mid', 'attn_out')!r} instead, or name {point.name!r} if the "
                f"MLP alone should see it"
            )
        return changed

    return run


def _wrap(hf: Any, tokenizer: Any) -> Bridge:
    """Wraps a module, which TransformerLens takes apart."""
    d_vocab = hf.config.get_text_config().vocab_size
    # Spread out over the vocabulary, as in `check_model`; read before the module is taken apart.
    ids = torch.arange(1, 7, device=hf.device)[None] * d_vocab // 7
    with torch.no_grad():
        expected = hf(input_ids=ids).logits
    logger = logging.getLogger("transformers")
    level = logger.level  # importing TransformerLens raises it, for everybody
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

        # TransformerLens opens the tokenizer again from its folder, and fails if it has none.
        known = "name_or_path" in getattr(tokenizer, "init_kwargs", {})
        lens: Any = build_bridge_from_module(
            hf,
            architecture=type(hf).__name__,
            hf_config=hf.config,
            tokenizer=tokenizer if known else None,
            device=str(hf.device),
            dtype=hf.dtype,
        )
    logger.setLevel(level)
    with torch.no_grad():
        found = lens(ids)
    error, scale = float((found - expected).abs().max()), float(expected.abs().max())
    # Wider than the bounds of `check_close`: rounding adds up over blocks. `not <=` refuses NaN.
    if not error <= (1e-3 if hf.dtype == torch.float32 else 1e-1) * scale:
        raise ValueError(
            f"TransformerLens computes another function than {type(hf).__name__}: logits differ by "
            f"{error:.3g} where they go up to {scale:.3g}. Its support for this configuration is "
            f"incomplete; do not use it here"
        )
    return Bridge(lens.eval())


def open_bridge(model: Any, tokenizer: Any = None) -> Bridge:
    """Opens a bridge to TransformerLens on a copy of a model.

    Args:
        model: A `Model`, or a Hugging Face causal language model of any architecture that
            TransformerLens knows. It is left alone.
        tokenizer: Its tokenizer, if `bridge.lens` should have one. It must come from a folder.

    Returns:
        The bridge.

    Raises:
        ValueError: If TransformerLens does not know the architecture, or computes other logits.
    """
    if isinstance(model, Model):
        model, tokenizer = model.hf, model.tokenizer
    return _wrap(copy.deepcopy(model), copy.deepcopy(tokenizer))


def load_bridge(path_or_id: str | Path, *, device: str = "cpu", dtype: str = "float32") -> Bridge:
    """Loads a model of any architecture that TransformerLens knows, and opens a bridge on it.

    Args:
        path_or_id: A folder in Hugging Face format, or a hub id 'owner/name'.
        device: Where to put it.
        dtype: Number format: 'float32', 'bfloat16' or 'float16'.

    Returns:
        The bridge.

    Raises:
        ValueError: As for `load_model`, and as for `open_bridge`.
    """
    folder = find_folder(path_or_id, dtype)
    # Fused attention would never form the scores and patterns that a bridge offers.
    parts = load_parts(folder, device=device, dtype=dtype, kernel="eager")
    return _wrap(parts.hf, parts.tokenizer)
