"""Loading a model from a folder or from the hub, and saying clearly what is wrong when it fails.

In order: find the folder (`interp.models.folders`); read its configuration, which is small, and see
whether the architecture is known; see whether the weight files are whole; load them; verify the
model (`check_model`). A folder with a PEFT adapter is loaded over the weights of its base
(`interp.models.peft_adapter`).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch

from interp.errors import explain_failure
from interp.files import read_json
from interp.models.adapters import Adapter, find_adapter
from interp.models.checks import check_model, check_tokenizer
from interp.models.folders import (
    DTYPES,
    check_weight_files,
    find_folder,
    hash_files,
    load_tokenizer,
    loading_quietly,
    read_architecture,
)
from interp.models.model import Model
from interp.models.peft_adapter import base_of, is_adapter, load_adapter

DeviceMap = str | Mapping[str, str | int]
"""'auto', or the device of each module by its name."""

_WITHOUT_EFFECT = re.compile(
    r"rotary_emb\.(inv_freq|cos_cached|sin_cached)$"
    r"|(^|\.)(attn|attention)\.(bias|masked_bias)$"  # GPT-2 and GPT-NeoX: the causal mask
    r"|(^|\.)position_ids$"
    r"|^(mtp|v_head)\."  # further heads beside the one that predicts the next token
)
"""Tensors of real checkpoints that may be left out: the model computes the same without them.

The first three kinds are constants that the model makes by itself."""


def check_device(device: str) -> None:
    """Makes sure that tensors can be put on a device.

    Raises:
        ValueError: If the device is unknown or not there; the message lists those that are.
    """
    known = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
    known += ["mps"] if torch.backends.mps.is_available() else []
    remedy = f"Devices here: {', '.join(known)}"
    with explain_failure(f"the device {device!r} cannot be used", remedy):
        found = torch.zeros(1, device=device).device
    if found.type == "meta":
        raise ValueError(f"the device 'meta' holds no numbers. {remedy}")


def _read_adapter(folder: Path) -> Adapter:
    row = find_adapter(read_architecture(folder))
    from transformers import AutoConfig

    with explain_failure(
        f"{folder / 'config.json'} describes no model that can be made",
        "Likely causes: a field of another type, written by a newer version of transformers, or "
        "code that comes with the model, which is not executed",
    ):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return row(config)


def _hash_tensors(hf: Any) -> str:
    digest = hashlib.sha256()
    for name, weight in sorted(hf.state_dict().items()):
        digest.update(name.encode())
        # As bytes, because numpy has no bfloat16.
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _check_quantisation(folder: Path) -> None:
    """Refuses a method that transformers does not know: it would load the numbers as they are."""
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    asked: Any = read_json(folder / "config.json").get("quantization_config")
    method = asked.get("quant_method") if isinstance(asked, dict) else asked
    if asked is not None and method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise ValueError(
            f"the weights in {folder} are quantised by an unknown method, {method!r}. Known: "
            f"{', '.join(AUTO_QUANTIZATION_CONFIG_MAPPING)}. Give plain weights"
        )


def _load_weights(
    folder: Path, dtype: torch.dtype, kernel: str, device_map: DeviceMap | None
) -> Any:
    from transformers import AutoModelForCausalLM

    if device_map is not None and find_spec("accelerate") is None:
        raise ModuleNotFoundError(
            "Spreading a model over devices needs accelerate: pip install 'posthoc[train]'"
        )
    _check_quantisation(folder)
    failure = explain_failure(
        f"the weights in {folder} cannot be loaded",
        "Likely causes: config.json belongs to another checkpoint, or the weights are quantised: "
        "give plain ones, in float32, bfloat16 or float16",
    )
    with failure, loading_quietly():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            device_map=device_map if isinstance(device_map, str | None) else dict(device_map),
            attn_implementation=kernel,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # reported, and refused below
        )
    hf, report = loaded
    # transformers would leave these at random values and only warn.
    missing = sorted(report["missing_keys"]) + sorted(
        str(key[0]) for key in report["mismatched_keys"]
    )
    if missing:
        raise ValueError(
            f"the weight files in {folder} do not fill the model that its config.json describes; "
            f"missing or of another shape: {', '.join(missing[:5])} ({len(missing)} in all). "
            f"Likely config.json belongs to another checkpoint"
        )
    unread = sorted(n for n in report["unexpected_keys"] if not _WITHOUT_EFFECT.search(n))
    if unread:
        raise ValueError(
            f"every tensor of a checkpoint must have a place in the model that its config.json "
            f"describes; the weight files in {folder} also hold {', '.join(unread[:5])} "
            f"({len(unread)} in all), which would be left out without effect. Likely causes: a "
            f"LoRA adapter that was not merged (model.merge_and_unload() before saving), "
            f"quantised weights whose quantization_config is missing, or the config.json of "
            f"another checkpoint (fewer layers, no biases, no norms on queries and keys)"
        )
    return hf


class Parts(NamedTuple):
    """What a folder holds."""

    hf: Any
    """The module, in evaluation mode and without gradients on its weights."""
    tokenizer: Any
    files: list[Path]


def load_parts(
    folder: Path, *, device: str, dtype: str, kernel: str, device_map: DeviceMap | None = None
) -> Parts:
    """Loads module and tokenizer from a folder, without knowing the family.

    Args:
        folder: As `find_folder` returned it.
        device: Where to put the module.
        dtype: A key of `DTYPES`.
        kernel: The attention kernel to run, 'sdpa' or 'eager'.
        device_map: Spreads the module over devices in place of `device`; None does not.

    Returns:
        Module, tokenizer and weight files.

    Raises:
        ValueError: If the folder or its files are not usable.
    """
    check_device(device)
    if is_adapter(folder):
        # transformers would load the model that is named there in place of this folder.
        raise ValueError(
            f"{folder} holds a PEFT adapter, and this needs whole weights. Merge it into them: "
            f"model.merge_and_unload().save_pretrained(folder)"
        )
    read_architecture(folder)
    files = check_weight_files(folder)
    tokenizer = load_tokenizer(folder)  # first, since it is the smaller one
    hf = _load_weights(folder, DTYPES[dtype], kernel, device_map).requires_grad_(False).eval()
    if device_map is not None:
        return Parts(hf, tokenizer, files)
    with explain_failure(
        f"the model in {folder} cannot be put on {device!r}", "Likely cause: too little memory"
    ):
        return Parts(hf.to(device), tokenizer, files)


def make_model(hf: Any, tokenizer: Any, *, name: str) -> Model:
    """Makes a `Model` of a Hugging Face module in memory, after the same checks as from disk.

    Args:
        hf: A causal language model; it is set to evaluation mode and otherwise left alone.
        tokenizer: Its tokenizer.
        name: Its name in results.

    Returns:
        The model; its hash is over the names and bytes of its tensors.

    Raises:
        ValueError: If the architecture is unknown or a check of `check_model` fails.
    """
    adapter = find_adapter(type(hf).__name__)(hf.config)
    model = Model(name, hf.eval(), tokenizer, adapter, _hash_tensors(hf))
    check_tokenizer(model)
    check_model(model)
    return model


def load_model(
    path_or_id: str | Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    device_map: DeviceMap | None = None,
    base: Model | None = None,
) -> Model:
    """Loads a model and verifies it.

    Args:
        path_or_id: A folder in Hugging Face format, a folder with a PEFT adapter, or a hub id:
            'owner/name', or 'owner/name@revision'.
        device: Where to put it, for example 'cpu' or 'cuda:0'.
        dtype: Number format: 'float32', 'bfloat16' or 'float16'. Weights stored otherwise are
            converted.
        device_map: For a model larger than one device: 'auto' spreads it over all there are, and
            over memory and disk where these do not suffice (needs accelerate); or where each
            module goes, for example {'model.embed_tokens': 0, ...}. `device` is then not used.
        base: Over whose weights an adapter is loaded (`interp.models.peft_adapter`), whose device
            and dtype it then has; None loads the base that the adapter names. A whole model needs
            none.

    Returns:
        The model, in evaluation mode and without gradients on its weights.

    Raises:
        ValueError: If the folder, its files or the model itself are not usable; the message says
            what was found, the likely cause and what to do.
    """
    folder = find_folder(path_or_id, dtype)
    # Resolved, because the path '.' has no name; the cached folder of a hub id is named by a hash.
    name = folder.resolve().name if Path(path_or_id).expanduser().is_dir() else str(path_or_id)
    if is_adapter(folder):
        base = base or load_model(
            base_of(folder), device=device, dtype=dtype, device_map=device_map
        )
        return load_adapter(folder, base, name=name)
    adapter = _read_adapter(folder)
    hf, tokenizer, files = load_parts(
        folder, device=device, dtype=dtype, kernel=adapter.kernel, device_map=device_map
    )
    model = Model(name, hf, tokenizer, adapter, hash_files(files), _spread_notes(hf, device_map))
    check_tokenizer(model)
    check_model(model)
    return model


def _spread_notes(hf: Any, device_map: DeviceMap | None) -> tuple[str, ...]:
    """Where the modules of a spread model are, and which checks it did not get."""
    if device_map is None:
        return ()
    places: Any = getattr(hf, "hf_device_map", None) or {"": hf.device}
    counts = Counter(map(str, places.values()))
    where = ", ".join(f"{place} ({n})" for place, n in counts.items())
    notes = [f"placed by device_map; modules of the map on each device: {where}"]
    away = [name for name, weight in hf.named_parameters() if weight.is_meta]
    if away:
        notes.append(
            f"{len(away)} weights are kept outside the device until they are used, so they were "
            f"not searched for NaN one by one; the other checks of a model ran"
        )
    return tuple(notes)
