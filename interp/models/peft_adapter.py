"""PEFT adapters: a folder with adapter_config.json and adapter_model.safetensors as a post model.

An adapter holds only what training changed (LoRA and its relatives), and is meaningless without the
base model that it was trained on. It is loaded over a base that is already in memory:

1. The module of the base is copied without its tensors: both modules hold the same ones, so the
   base takes its memory once. The copy has hooks of its own.
2. Tensors of the base that the adapter replaces as a whole (biases, a resized embedding) become the
   copy's own.
3. PEFT puts its layers into the copy and fills them. A module keeps its name, and its output is
   that of base and adapter together, so every site lies where the family keeps it.
4. Every tensor of the file must have found its place, and every place its tensor. The base must
   compute what it computed before, bit by bit. Then the model is checked like any other.

Some ways to initialise an adapter (PiSSA, OLoRA, LoftQ and others) change the base weights
underneath. There the copy gets tensors of its own, and a note says so.
"""

from __future__ import annotations

import copy
import hashlib
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp.errors import explain_failure
from interp.files import read_json
from interp.models.checks import check_model, check_tokenizer
from interp.models.folders import hash_files, holds_tokenizer, load_tokenizer
from interp.models.forward import body, unembed
from interp.models.hooks import copy_sharing
from interp.models.model import Model
from interp.models.smollm2 import FOLDER, smollm2_path

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_KEEPS_BASE = (True, False, "gaussian")
"""Values of `init_lora_weights` that leave the weights underneath as they are."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter in place of a model.

    Raises:
        ValueError: If it holds both, so that either could be meant.
    """
    if not (folder / CONFIG).is_file():
        return False
    others = sorted(file.name for file in folder.glob("*.safetensors") if file.name != WEIGHTS)
    if others:
        raise ValueError(
            f"{folder} holds a PEFT adapter ({CONFIG}) beside the weights of a model ({others[0]}),"
            f" so either could be meant. Remove {CONFIG} if the adapter was merged into the "
            f"weights (model.merge_and_unload()); else keep the adapter in a folder of its own"
        )
    return True


def base_of(folder: Path) -> str:
    """The base that an adapter's configuration names, as a folder or a hub id.

    The folder of the packaged SmolLM2 is meant wherever it lies, and made if it is not there yet.

    Raises:
        ValueError: If it names none.
        ModuleNotFoundError: If it names SmolLM2, and its package is not installed.
    """
    about: Any = read_json(folder / CONFIG)
    named = about.get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise ValueError(
            f"{folder / CONFIG} names no base model (base_model_name_or_path is {named!r}). Give "
            f"it: load_model(folder, base=load_model(PATH_OF_BASE))"
        )
    if named == FOLDER:
        return str(smollm2_path())
    beside = folder / named
    if not Path(named).expanduser().is_dir() and beside.is_dir():
        return str(beside)
    revision = about.get("revision")
    return f"{named}@{revision}" if revision and not Path(named).is_dir() else named


def load_adapter(folder: Path, base: Model, *, name: str) -> Model:
    """Loads an adapter over the weights of a base model, and verifies the result.

    Args:
        folder: Holds adapter_config.json and adapter_model.safetensors. Its own tokenizer is used
            if it has one, else that of the base.
        base: The model that it was trained on; it is left alone. Device and dtype are its own.
        name: Name of the result.

    Returns:
        The post model; its `notes` say how it was put together.

    Raises:
        ValueError: If the adapter is damaged or does not fit the base.
        ModuleNotFoundError: If PEFT is not installed.
    """
    if find_spec("peft") is None:
        raise ModuleNotFoundError("Loading an adapter needs peft: pip install 'posthoc[train]'")
    _check_base(base)
    tensors = _read_tensors(folder)
    tokenizer = load_tokenizer(folder) if holds_tokenizer(folder) else base.tokenizer
    ids = torch.arange(1, 5, device=base.device)[None] * base.d_vocab // 6
    before = _logits(base, ids)
    hf, notes = _fill(folder, base, tensors)
    digest = hashlib.sha256(base.weights_sha256.encode())
    digest.update(hash_files([folder / CONFIG, folder / WEIGHTS]).encode())
    model = Model(name, hf, tokenizer, base.adapter, digest.hexdigest(), tuple(notes))
    check_tokenizer(model)
    check_model(model)
    if not torch.equal(_logits(base, ids), before):
        raise ValueError(
            f"the adapter in {folder} changes the weights of its base {base.name} when it is "
            f"loaded. Merge it instead: model.merge_and_unload(), saved into another folder"
        )
    if torch.equal(_logits(model, ids)[..., : base.d_vocab], before):
        untrained = "the adapter moves no prediction on a few tokens: likely saved before training"
        return replace(model, notes=(*model.notes, untrained))
    return model


@torch.no_grad()
def _logits(model: Model, ids: Tensor) -> Tensor:
    return unembed(model, body(model, ids))


def _check_base(base: Model) -> None:
    if hasattr(base.hf, "peft_config"):
        raise ValueError(
            f"an adapter is loaded over plain weights, and {base.name} holds an adapter itself. "
            f"Merge that into its weights first: model.merge_and_unload(), saved into a folder"
        )
    if getattr(base.hf, "hf_device_map", None) is not None:
        raise ValueError(
            f"an adapter is loaded over weights on one device, and {base.name} is spread by "
            f"device_map. Load the base without it, or merge the adapter into its weights"
        )


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    if not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"{folder} holds {CONFIG} and no {WEIGHTS}, the only format of adapters that is read "
            f"(others can run code when opened). Save it again: model.save_pretrained(folder)"
        )
    with explain_failure(
        f"{folder / WEIGHTS} cannot be read", "Likely an interrupted copy: fetch this file again"
    ):
        found = load_file(folder / WEIGHTS)
    return {key.removeprefix(_PREFIX): tensor for key, tensor in found.items()}


def _place(key: str) -> str:
    """The name that a tensor of the file would have in the plain module."""
    return key.replace(".base_layer.", ".")


def _copy_base(base: Model, config: Any, tensors: dict[str, Tensor]) -> Any:
    """The module of the base, on the same tensors but for those that the adapter replaces."""
    if getattr(config, "init_lora_weights", True) not in _KEEPS_BASE:
        return copy.deepcopy(base.hf)
    hf = copy_sharing(base.hf)
    saved = tuple(getattr(config, "modules_to_save", None) or ())  # PEFT copies these by itself
    plain = {_place(key): tensor for key, tensor in tensors.items()}
    rows = plain.get(f"{_name_of(hf, hf.get_input_embeddings())}.weight")
    if rows is not None and len(rows) != base.d_vocab:
        hf.resize_token_embeddings(len(rows), mean_resizing=False)
    for name in plain:
        owner, _, kind = name.rpartition(".")
        parameter = dict(hf.named_parameters(remove_duplicate=False)).get(name)
        if parameter is not None and not owner.endswith(saved or ("\0",)):
            own = torch.nn.Parameter(parameter.detach().clone(), requires_grad=False)
            setattr(hf.get_submodule(owner), kind, own)
    hf.tie_weights()
    return hf


def _name_of(hf: Any, module: Any) -> str:
    return next(name for name, found in hf.named_modules() if found is module)


def _fill(folder: Path, base: Model, tensors: dict[str, Tensor]) -> tuple[Any, list[str]]:
    """A module with the adapter in place, and what is to be noted about it."""
    named = read_json(folder / CONFIG).get("base_model_name_or_path")
    misfit = (
        f"It was trained on {named!r}; likely {base.name} is another model. Give the base that it "
        f"was trained on, or merge the adapter there: model.merge_and_unload()"
    )
    failure = explain_failure(f"the adapter in {folder} does not fit {base.name}", misfit)
    gradients = [(weight, weight.requires_grad) for weight in base.hf.parameters()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PEFT warns of is refused below, or changes nothing
        with failure:
            from peft import PeftConfig, inject_adapter_in_model, set_peft_model_state_dict

            config: Any = PeftConfig.from_pretrained(str(folder))
            config.inference_mode = True
            hf = _copy_base(base, config, tensors)
            hf = inject_adapter_in_model(config, hf)
            report: Any = set_peft_model_state_dict(hf, dict(tensors))
    missing = [key for key in report.missing_keys if ".default" in key]
    for what, keys in (("has no tensor for", missing), ("also holds", report.unexpected_keys)):
        if keys:
            raise ValueError(
                f"the adapter in {folder} does not fit {base.name}: its file {what} "
                f"{', '.join(sorted(keys)[:5])} ({len(keys)} in all). {misfit}"
            )
    _merge_embeddings(hf)
    hf.requires_grad_(False).eval()
    for weight, needed in gradients:
        weight.requires_grad_(needed)
    return hf, _notes(hf, base, named)


def _merge_embeddings(hf: Any) -> None:
    """Adds an adapter of the (un)embedding to its weight, which is also read without a pass."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in (hf.get_input_embeddings(), hf.get_output_embeddings()):
        if isinstance(module, BaseTunerLayer):
            inner: Any = module.get_base_layer()
            inner.weight = torch.nn.Parameter(inner.weight.detach().clone(), requires_grad=False)
            module.merge()


def _notes(hf: Any, base: Model, named: Any) -> list[str]:
    shared = {weight.data_ptr() for weight in base.hf.parameters()}
    own = sum(w.numel() for w in hf.parameters() if w.data_ptr() not in shared)
    notes = [
        f"adapter over the weights of {base.name}, which are held once in memory; "
        f"{own:,} numbers of its own"
        if len(shared & {weight.data_ptr() for weight in hf.parameters()})
        else f"adapter over a copy of {base.name}: its initialisation changes the base weights"
    ]
    if str(named).rstrip("/").rpartition("/")[2].lower() != base.name.rpartition("/")[2].lower():
        notes.append(f"its configuration names the base {named!r}; it was loaded over {base.name}")
    return notes
