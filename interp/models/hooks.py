"""Hooks: the only file that registers PyTorch hooks and removes them.

::

    with hooked(model, [(Site(3, "resid_post"), look), (Site(5, "z"), edit)]):
        model.hf(ids)

A handler is a function of the activation, in the axes of its site: heads are split off for q, k, v
and z, and where one module computes several streams the site's own part is cut out. It returns None
to leave the activation alone, or a new tensor of the same shape to replace it; it must not write
into the tensor that it receives. Several handlers of one site run in the order given, each on what
the one before returned.

`hooked` promises:

- a site that the model lacks is an error before any hook is registered;
- a site that the model never computed inside the `with` block is an error at its end, because an
  experiment whose edit did not take place must not return numbers;
- hooks are removed at the end of the `with` block, also after an exception;
- handlers see the passes of the thread that entered the `with` block and no others, so several
  threads may read and edit one model at the same time. No pass waits for another.

No module returns `resid_mid`, so it is computed: the input of the block plus what attention adds
to the stream (`attn_out`, after any norm or multiplier). A handler's change of it is folded back
into `attn_out`, so that the edit reaches both the MLP and the skip connection.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from interp.models.model import Model, check_site, site_shape
from interp.sites import STREAMS, Site, SiteOrName

HOOKS_CHANGE = threading.Lock()
"""Held while hooks are put on, taken off or copied: PyTorch numbers them by one shared counter."""

Handler = Callable[[Tensor], Tensor | None]
_Change = Callable[[Tensor], Tensor | None]
_ORDER = {name: order for order, name in enumerate(STREAMS)}


def copy_sharing(hf: Any) -> Any:
    """A module of its own on the same tensors."""
    shared: dict[int, Any] = {id(t): t for t in (*hf.parameters(), *hf.buffers())}
    with HOOKS_CHANGE:
        return copy.deepcopy(hf, shared)


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


def _at_home(change: _Change, device: torch.device, activation: Tensor) -> Tensor | None:
    """A change on the device of the model's inputs: a block of a spread model may be elsewhere."""
    changed = change(activation.to(device))
    return None if changed is None else changed.to(activation.device)


def _in_heads(change: _Change, n_heads: int, activation: Tensor) -> Tensor | None:
    """A change of a stream whose last axis holds all heads side by side."""
    split = "batch pos (n_heads d_head) -> batch pos n_heads d_head"
    changed = change(rearrange(activation, split, n_heads=n_heads))
    return None if changed is None else rearrange(changed, "batch pos n d -> batch pos (n d)")


def _in_units_of_the_stream(change: _Change, factor: float, activation: Tensor) -> Tensor | None:
    """A change of a module's output times the factor with which the model adds it to the stream."""
    scaled = activation * factor
    changed = change(scaled)
    if changed is None:
        return None
    # Where nothing changed the output stays as it is: dividing a product again would round it.
    kept = activation + (changed - scaled) / factor
    return torch.where(changed == scaled, kept, changed / factor)


def _in_part(model: Model, site: Site, change: _Change, activation: Tensor) -> Tensor | None:
    """A change of one of several streams that share the last axis."""
    place = model.adapter.places[site.stream]
    n_groups = model.n_heads if place.per_head else 1
    widths = [prod(site_shape(model, Site(site.layer, name))) // n_groups for name in place.parts]
    if activation.shape[-1] != n_groups * sum(widths):
        raise ValueError(
            f"{place.module.format(layer=site.layer)} of {model.name} should hold "
            f"{', '.join(place.parts)} in {n_groups} x {widths} columns, received "
            f"{activation.shape[-1]}. The adapter '{model.adapter.family}' does not describe it"
        )
    index = place.parts.index(site.stream)
    split, join = (
        "batch pos (group d) -> batch pos group d",
        "batch pos group d -> batch pos (group d)",
    )
    parts = list(rearrange(activation, split, group=n_groups).split(widths, -1))
    changed = change(rearrange(parts[index], join))
    if changed is None:
        return None
    parts[index] = rearrange(changed, split, group=n_groups)
    return rearrange(torch.cat(parts, -1), join)


# Models of some families pass hidden_states by place and others by name.
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
    return changed if whole else (changed, *output[1:])  # attention returns (output, weights)


def _in_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook that leaves alone what other threads compute with the same module."""
    owner = threading.get_ident()

    # Any arguments: to another thread a hook may look half registered, without named arguments.
    def own(*call: Any) -> Any:
        return hook(*call) if threading.get_ident() == owner else None

    return own


@contextmanager
def _registered(
    register: Callable[..., Any], hook: Callable[..., Any], **options: bool
) -> Generator[None]:
    with HOOKS_CHANGE:
        handle = register(_in_this_thread(hook), **options)
    try:
        yield
    finally:
        with HOOKS_CHANGE:
            handle.remove()


def _on_input(module: Any, change: _Change) -> AbstractContextManager[None]:
    return _registered(
        module.register_forward_pre_hook, partial(_change_input, change), with_kwargs=True
    )


def _on_output(module: Any, change: _Change) -> AbstractContextManager[None]:
    return _registered(module.register_forward_hook, partial(_change_output, change))


def _remember(entered: list[Tensor], activation: Tensor) -> None:
    entered[:] = [activation]


def _fold_back(entered: list[Tensor], change: _Change, attn_out: Tensor) -> Tensor | None:
    """Computes resid_mid from the input of the block and attn_out, and folds a change into it."""
    before = entered.pop().to(attn_out.device)
    middle = before + attn_out
    changed = change(middle)
    if changed is None:
        return None
    # Where nothing changed, attn_out stays as it is (the term added is zero, and lets gradients
    # pass to `changed`). Elsewhere the block's own addition of `before` gives the changed value,
    # exactly so for zero.
    return torch.where(changed == middle, attn_out + (changed - middle), changed - before)


def _hooks(model: Model, site: Site, change: _Change) -> list[AbstractContextManager[None]]:
    """The hooks of a site, to be entered in order."""
    stream = "attn_out" if site.stream == "resid_mid" else site.stream
    place = model.adapter.places[stream]
    module = model.hf.get_submodule(place.module.format(layer=site.layer))
    hooks: list[AbstractContextManager[None]] = []
    if site.stream == "resid_mid":
        block = model.hf.get_submodule(model.adapter.block.format(layer=site.layer))
        entered: list[Tensor] = []
        hooks.append(_on_input(block, partial(_remember, entered)))
        change = partial(_fold_back, entered, change)
    # The wrapper put on last sees the activation first: moved, scaled, cut to its part, split.
    if place.heads is not None:
        change = partial(_in_heads, change, getattr(model, place.heads))
    if place.parts:
        change = partial(_in_part, model, site, change)
    if place.factor != 1.0:
        change = partial(_in_units_of_the_stream, change, place.factor)
    change = partial(_at_home, change, model.device)
    return [*hooks, (_on_input if place.side == "in" else _on_output)(module, change)]


@contextmanager
def hooked(model: Model, handlers: Sequence[tuple[SiteOrName, Handler]]) -> Generator[None]:
    """Runs handlers whenever the model computes their sites inside the `with` block.

    Args:
        model: The model to read or edit.
        handlers: Pairs of a site (or its name) and a function of the activation there.

    Yields:
        None; the hooks are active inside the `with` block.

    Raises:
        ValueError: If the model lacks a site, or a handler changes shape or dtype.
        RuntimeError: On leaving the block, if a site was never computed.
    """
    by_site: dict[Site, list[Handler]] = {}
    for site_or_name, handler in handlers:
        site = check_site(model, site_or_name)
        by_site.setdefault(site, []).append(handler)
    fired: set[Site] = set()
    with ExitStack() as hooks:
        # attn_out before resid_mid: both are hooks on the output of one module, run in this order.
        for site in sorted(by_site, key=lambda site: _ORDER[site.stream]):
            for hook in _hooks(model, site, partial(_chain, site, by_site[site], fired)):
                hooks.enter_context(hook)
        yield
    silent = [str(site) for site in by_site if site not in fired]
    if silent:
        raise RuntimeError(
            f"these sites were requested but never computed: {', '.join(silent)}. Either no "
            f"forward pass ran inside the `with` block, it ran in another thread, or the model ran "
            f"without these modules"
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
        return (output if isinstance(output, Tensor) else output[0]).to(hidden.device)


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
            entered = args[0] if args else kwargs["hidden_states"]
            calls.append(BlockCall(entered.to(model.device), args, kwargs))

        return note

    with ExitStack() as hooks:
        for layer in range(model.n_layers):
            block: Any = model.hf.get_submodule(model.adapter.block.format(layer=layer))
            register = block.register_forward_pre_hook
            hooks.enter_context(_registered(register, watch(layer), with_kwargs=True))
        yield calls
    if order != list(range(model.n_layers)):
        raise RuntimeError(
            f"{model.name} should have called each of its {model.n_layers} blocks once, in order; "
            f"it called {order}. One full forward pass belongs inside the `with` block"
        )


@contextmanager
def last_position_mlp(model: Model, layer: int) -> Generator[None]:
    """Lets the MLP of a block compute the last position alone, for a caller that reads no other.

    The block adds that one output to every position, so only the last position is correct after it.
    """
    mlp: Any = model.hf.get_submodule(model.adapter.mlp.format(layer=layer))
    with _on_input(mlp, lambda activation: activation[:, -1:]):
        yield
