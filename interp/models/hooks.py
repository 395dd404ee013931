"""The hook door: the one place where PyTorch hooks are registered and removed.

::

    with hooked(model, [(Site(3, "resid_post"), look), (Site(5, "z"), edit)]):
        model.hf(ids)

A handler is a function of the activation, in the axes of its site: heads are split off for q, k, v
and z, and where one module computes several streams the site's own part is cut out. It returns None
to leave it alone or a new tensor of the same shape to replace it; it must not write into what it is
given. Several handlers of one site run in the order given, each on what the one before returned.

The door promises:

- a site that the model lacks is an error before anything is registered;
- a site that never fired while the door was open is an error when it closes, because an experiment
  whose edit did not take place must not return numbers;
- hooks are removed when the block ends, also after an exception.

`resid_mid` is formed, not found: the input of the block is remembered, what attention adds to the
stream (`attn_out`, after any norm of it) is added, and what a handler changes is folded back into
that. So an edit reaches both the MLP and the skip connection.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from interp.models.model import Model, check_site, site_shape
from interp.sites import STREAMS, Site

Handler = Callable[[Tensor], Tensor | None]
_Change = Callable[[Tensor], Tensor | None]
_ORDER = {name: order for order, name in enumerate(STREAMS)}


def _chain(
    site: Site, handlers: Sequence[Handler], fired: set[Site], activation: Tensor
) -> Tensor | None:
    """All handlers of a site, one after the other; None when none changed anything."""
    fired.add(site)
    current = activation
    for handler in handlers:
        changed = handler(current)
        if changed is None:
            continue
        if changed.shape != current.shape or changed.dtype != current.dtype:
            raise ValueError(
                f"a handler must keep shape and dtype of the activation at {site}: it received "
                f"{tuple(current.shape)} {current.dtype} and returned "
                f"{tuple(changed.shape)} {changed.dtype}"
            )
        current = changed
    return None if current is activation else current


def _in_heads(change: _Change, n_heads: int, activation: Tensor) -> Tensor | None:
    """A change of a stream whose last axis holds all heads side by side."""
    changed = change(activation.unflatten(-1, (n_heads, -1)))
    return None if changed is None else changed.flatten(-2)


def _in_part(model: Model, site: Site, change: _Change, activation: Tensor) -> Tensor | None:
    """A change of one of several streams that share the last axis."""
    place = model.adapter.places[site.stream]
    n_groups = model.n_heads if place.per_head else 1
    widths = [prod(site_shape(model, Site(site.layer, name))) // n_groups for name in place.parts]
    if activation.shape[-1] != n_groups * sum(widths):
        raise ValueError(
            f"{place.module.format(layer=site.layer)} of {model.name} should hold "
            f"{', '.join(place.parts)} in {n_groups} x {widths} columns, found "
            f"{activation.shape[-1]}. The adapter '{model.adapter.family}' does not describe it"
        )
    index = place.parts.index(site.stream)
    parts = list(activation.unflatten(-1, (n_groups, -1)).split(widths, -1))
    changed = change(parts[index].flatten(-2))
    if changed is None:
        return None
    parts[index] = changed.unflatten(-1, (n_groups, -1))
    return torch.cat(parts, -1).flatten(-2)


def _change_input(
    change: _Change, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    changed = change(args[0] if args else kwargs["hidden_states"])
    if changed is None:
        return None
    if args:
        return (changed, *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": changed}


def _change_output(change: _Change, _module: Any, _args: Any, output: Any) -> Any:
    whole = isinstance(output, Tensor)
    changed = change(output if whole else output[0])
    if changed is None:
        return None
    return changed if whole else (changed, *output[1:])


def _on_input(module: Any, change: _Change) -> Any:
    return module.register_forward_pre_hook(partial(_change_input, change), with_kwargs=True)


def _on_output(module: Any, change: _Change) -> Any:
    return module.register_forward_hook(partial(_change_output, change))


def _remember(entered: list[Tensor], activation: Tensor) -> None:
    entered[:] = [activation]


def _fold_back(entered: list[Tensor], change: _Change, attn_out: Tensor) -> Tensor | None:
    """Forms resid_mid of what entered the block and attn_out, which takes up its change."""
    before = entered.pop()
    middle = before + attn_out
    changed = change(middle)
    if changed is None:
        return None
    # Where nothing changed attn_out stays as it is (the term added is zero, and lets gradients pass
    # to `changed`); elsewhere the block's own addition of `before` gives the changed value (exactly
    # so for zero).
    return torch.where(changed == middle, attn_out + (changed - middle), changed - before)


def _register(model: Model, site: Site, change: _Change) -> list[Any]:
    stream = "attn_out" if site.stream == "resid_mid" else site.stream
    place = model.adapter.places[stream]
    module = model.hf.get_submodule(place.module.format(layer=site.layer))
    if site.stream == "resid_mid":
        block = model.hf.get_submodule(model.adapter.block.format(layer=site.layer))
        entered: list[Tensor] = []
        return [
            _on_input(block, partial(_remember, entered)),
            _on_output(module, partial(_fold_back, entered, change)),
        ]
    if place.heads is not None:
        change = partial(_in_heads, change, getattr(model, place.heads))
    if place.parts:
        change = partial(_in_part, model, site, change)
    return [(_on_input if place.side == "in" else _on_output)(module, change)]


@contextmanager
def hooked(model: Model, handlers: Sequence[tuple[Site, Handler]]) -> Generator[None]:
    """Opens the door: handlers run whenever the model computes their sites.

    Args:
        model: The model to read or edit.
        handlers: Pairs of a site and a function of the activation there.

    Yields:
        None; the hooks are active inside the `with` block.

    Raises:
        ValueError: If the model lacks a site, or a handler changes shape or dtype.
        RuntimeError: On leaving the block, if a site was never computed.
    """
    by_site: dict[Site, list[Handler]] = {}
    for site, handler in handlers:
        check_site(model, site)
        by_site.setdefault(site, []).append(handler)
    fired: set[Site] = set()
    with ExitStack() as handles:
        # attn_out before resid_mid: both live on the output of one module, and in that order.
        for site in sorted(by_site, key=lambda site: _ORDER[site.stream]):
            for handle in _register(model, site, partial(_chain, site, by_site[site], fired)):
                handles.callback(handle.remove)
        yield
    silent = [str(site) for site in by_site if site not in fired]
    if silent:
        raise RuntimeError(
            f"these sites were requested but never computed: {', '.join(silent)}. Either no "
            f"forward pass ran inside the `with` block, or the model ran without these modules"
        )


@dataclass(frozen=True, eq=False)
class BlockCall:
    """One call of a block: the arguments that the model gave it besides what it computes on."""

    entered: Tensor
    """The block's input [batch, pos, d_model]."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    """Named arguments; `hidden_states` is absent if it was given by place, as the first of args."""

    def again(self, block: Any, hidden: Tensor) -> Tensor:
        """Calls a block in the same way on another input, and returns its output."""
        if self.args:
            output = block(hidden, *self.args[1:], **self.kwargs)
        else:
            output = block(**{**self.kwargs, "hidden_states": hidden})
        return output if isinstance(output, Tensor) else output[0]


@contextmanager
def recorded_blocks(model: Model) -> Generator[list[BlockCall]]:
    """Notes how the model calls its blocks, so that a block can be called in the same way again.

    Args:
        model: The model to watch.

    Yields:
        A list that fills up, one entry per block in order, during the pass inside the `with` block.

    Raises:
        RuntimeError: On leaving the block, if the pass did not call every block once, in order.
    """
    calls: list[BlockCall] = []
    order: list[int] = []

    def watch(layer: int) -> Any:
        def note(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            order.append(layer)
            calls.append(BlockCall(args[0] if args else kwargs["hidden_states"], args, kwargs))

        return note

    with ExitStack() as handles:
        for layer in range(model.n_layers):
            block: Any = model.hf.get_submodule(model.adapter.block.format(layer=layer))
            handle = block.register_forward_pre_hook(watch(layer), with_kwargs=True)
            handles.callback(handle.remove)
        yield calls
    if order != list(range(model.n_layers)):
        raise RuntimeError(
            f"{model.name} should have called each of its {model.n_layers} blocks once, in order; "
            f"it called {order}. One full forward pass belongs inside the `with` block"
        )


@contextmanager
def last_position_mlp(model: Model, layer: int) -> Generator[None]:
    """Lets the MLP of a block compute the last position alone, for one that is all that is read.

    The block adds what its MLP returns to every position, so only the last one leaves it right.
    """
    inner = model.adapter.places["mlp_post"].module.format(layer=layer)
    mlp: Any = model.hf.get_submodule(inner.rpartition(".")[0])
    handle = _on_input(mlp, lambda activation: activation[:, -1:])
    try:
        yield
    finally:
        handle.remove()
