"""Loading a model from a folder or from the hub, and saying clearly what is wrong when it fails.

In order: find the folder; read its configuration, which is small, and see whether the architecture
is known; see whether the weight files are whole; load them; verify the model (`check_model`).

Only safetensors are read, because other formats can run code when opened, and no code that comes
with a model is executed. Nothing is fetched unless the text names no folder and has the form of a
hub id (`owner/name`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from interp.errors import explain_failure
from interp.files import read_json
from interp.models.adapters import Adapter, find_adapter
from interp.models.checks import check_model
from interp.models.model import Model

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_WITHOUT_EFFECT = re.compile(
    r"rotary_emb\.(inv_freq|cos_cached|sin_cached)$"
    r"|(^|\.)(attn|attention)\.(bias|masked_bias)$"  # GPT-2 and GPT-NeoX: the causal mask
    r"|(^|\.)position_ids$"
    r"|^(mtp|v_head)\."  # further heads beside the one that predicts the next token
)
"""Tensors of real checkpoints that may be left out: the model computes the same without them.

The first three kinds are constants that the model makes by itself."""

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_HUB_FILES = ("*.safetensors", "*.json", "*.model", "*.txt", "*.jinja")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
"""Each holds the vocabulary of a tokenizer."""


def find_folder(path: str | Path, dtype: str, *, with_weights: bool = True) -> Path:
    """Finds the folder of a model, or fetches it from the hub; checks the dtype as well.

    Args:
        path: A folder, or a hub id.
        dtype: A key of `DTYPES`.
        with_weights: Whether the weights are fetched, too; a folder is taken as it is.

    Raises:
        ValueError: If there is neither folder nor hub id of that name, or the dtype is unknown.
    """
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}. Known: {', '.join(DTYPES)}")
    path_or_id = str(path)
    folder = Path(path_or_id).expanduser()
    if folder.is_dir():
        return folder
    if not _HUB_ID.fullmatch(path_or_id) or folder.exists():
        raise ValueError(
            f"a model is a folder with config.json and safetensors, or a hub id 'owner/name'; "
            f"there is no folder {path_or_id!r} (looked in {Path.cwd()}), and it does not "
            f"have the form of a hub id"
        )
    from huggingface_hub import snapshot_download

    with explain_failure(
        f"there is no folder {path_or_id!r} (looked in {Path.cwd()}), and it could not be "
        f"fetched from the hub as a model id",
        "Likely causes: a name that is misspelt, or no network. Give a folder",
    ):
        wanted = _HUB_FILES if with_weights else _HUB_FILES[1:]
        return Path(snapshot_download(path_or_id, allow_patterns=list(wanted)))


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


def _read_architecture(folder: Path) -> str:
    path = folder / "config.json"
    if (folder / "adapter_config.json").is_file():
        # transformers would apply it only where PEFT is installed.
        raise ValueError(
            f"{folder} holds a PEFT adapter (adapter_config.json), and a model is read with its "
            f"adapter merged into the weights. Load it by peft.AutoPeftModelForCausalLM, and save "
            f"model.merge_and_unload() and the tokenizer into another folder"
        )
    if not path.is_file():
        raise ValueError(
            f"{folder} holds no config.json, so it is not a model in Hugging Face format. "
            f"Save one with model.save_pretrained(folder) and tokenizer.save_pretrained(folder)"
        )
    names: Any = read_json(path).get("architectures")
    if not isinstance(names, list) or not names:
        raise ValueError(
            f'{path} names no architecture in a list, such as "architectures": '
            f'["LlamaForCausalLM"]; received {names!r}'
        )
    return str(names[0])


def _read_adapter(folder: Path) -> Adapter:
    row = find_adapter(_read_architecture(folder))
    from transformers import AutoConfig

    with explain_failure(
        f"{folder / 'config.json'} describes no model that can be made",
        "Likely causes: a field of another type, written by a newer version of transformers, or "
        "code that comes with the model, which is not executed",
    ):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return row(config)


def weight_files(folder: Path) -> list[Path]:
    """The weight files of a checkpoint: those in the folder, and those that its index names.

    An index may name a file of a neighbouring folder (``../base-s0/model.safetensors``), so that a
    model which differs from another in a few tensors need not store the rest again.

    Raises:
        ValueError: If there are none, or a named one is missing.
    """
    files = set(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        named = set(map(str, dict(read_json(index, "weight_map")["weight_map"]).values()))
        missing = sorted(name for name in named if not (folder / name).is_file())
        if missing:
            raise ValueError(
                f"{folder} lacks weight files that its index names: {', '.join(missing)}. "
                f"Likely an interrupted copy or download: fetch them again"
            )
        files |= {folder / name for name in named}
    if not files:
        raise ValueError(
            f"{folder} holds no *.safetensors, the only weight format that is read (others can run "
            f"code when opened). Convert with model.save_pretrained(folder)"
        )
    return sorted(files)  # the checksum runs over the files in this order


def _check_weight_files(folder: Path) -> list[Path]:
    from safetensors import SafetensorError, safe_open

    files = weight_files(folder)
    for file in files:
        try:
            # Opening reads the header only, and refuses a file shorter than the header says.
            with safe_open(file, framework="pt") as tensors:
                tensors.keys()
        except SafetensorError as error:
            raise ValueError(
                f"{file} is damaged ({file.stat().st_size} bytes; {error}). Likely an interrupted "
                f"copy or download: fetch this file again"
            ) from error
    return files


def hash_files(files: list[Path]) -> str:
    """Checksum of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _hash_tensors(hf: Any) -> str:
    digest = hashlib.sha256()
    for name, weight in sorted(hf.state_dict().items()):
        digest.update(name.encode())
        # As bytes, because numpy has no bfloat16.
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def loading_quietly() -> Generator[None]:
    """Silences the bars and reports of transformers, and leaves the settings as they were."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what it reports of missing weights is refused below
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


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


def _load_weights(folder: Path, dtype: torch.dtype, kernel: str) -> Any:
    from transformers import AutoModelForCausalLM

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


def load_tokenizer(folder: Path) -> Any:
    """Loads the tokenizer of a folder.

    Raises:
        ValueError: If the folder holds none, or one that cannot be read.
    """
    from transformers import AutoTokenizer

    # Without one of these transformers makes an empty tokenizer of some families.
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ValueError(
            f"{folder} holds no tokenizer: none of {', '.join(TOKENIZER_FILES)}. Save it next to "
            f"the weights with tokenizer.save_pretrained(folder)"
        )
    with explain_failure(
        f"the tokenizer in {folder} cannot be loaded",
        "Likely causes: files of a newer version of tokenizers or transformers, a package that "
        "is missing, or code that comes with the model, which is not executed. Save it again "
        "with tokenizer.save_pretrained(folder)",
    ):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


class Parts(NamedTuple):
    """What a folder holds."""

    hf: Any
    """The module, in evaluation mode and without gradients on its weights."""
    tokenizer: Any
    files: list[Path]


def load_parts(folder: Path, *, device: str, dtype: str, kernel: str) -> Parts:
    """Loads module and tokenizer from a folder, without knowing the family.

    Args:
        folder: As `find_folder` returned it.
        device: Where to put the module.
        dtype: A key of `DTYPES`.
        kernel: The attention kernel to run, 'sdpa' or 'eager'.

    Returns:
        Module, tokenizer and weight files.

    Raises:
        ValueError: If the folder or its files are not usable.
    """
    check_device(device)
    if (folder / "adapter_config.json").is_file():
        # transformers would load the model that is named there in place of this folder.
        raise ValueError(
            f"{folder} holds an adapter of peft (adapter_config.json). Merge it into the weights: "
            f"model.merge_and_unload().save_pretrained(folder)"
        )
    _read_architecture(folder)
    files = _check_weight_files(folder)
    tokenizer = load_tokenizer(folder)  # first, since it is the smaller one
    hf = _load_weights(folder, DTYPES[dtype], kernel).requires_grad_(False).eval()
    with explain_failure(
        f"the model in {folder} cannot be put on {device!r}", "Likely cause: too little memory"
    ):
        return Parts(hf.to(device), tokenizer, files)


def _check_tokenizer(model: Model) -> None:
    largest = max(model.tokenizer.get_vocab().values(), default=-1)
    # The reverse is harmless: many models pad the embedding beyond the tokenizer.
    if largest >= model.d_vocab:
        raise ValueError(
            f"the tokenizer of {model.name} has ids up to {largest}, but the model scores only ids "
            f"0 to {model.d_vocab - 1}. Likely tokens were added without resizing the embedding: "
            f"call hf.resize_token_embeddings(len(tokenizer)) before saving"
        )


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
    _check_tokenizer(model)
    check_model(model)
    return model


def load_model(path_or_id: str | Path, *, device: str = "cpu", dtype: str = "float32") -> Model:
    """Loads a model and verifies it.

    Args:
        path_or_id: A folder in Hugging Face format, or a hub id 'owner/name'.
        device: Where to put it, for example 'cpu' or 'cuda:0'.
        dtype: Number format: 'float32', 'bfloat16' or 'float16'. Weights stored otherwise are
            converted.

    Returns:
        The model, in evaluation mode and without gradients on its weights.

    Raises:
        ValueError: If the folder, its files or the model itself are not usable; the message says
            what was found, the likely cause and what to do.
    """
    folder = find_folder(path_or_id, dtype)
    adapter = _read_adapter(folder)
    hf, tokenizer, files = load_parts(folder, device=device, dtype=dtype, kernel=adapter.kernel)
    # Resolved, because the path '.' has no name; the cached folder of a hub id is named by a hash.
    name = folder.resolve().name if Path(path_or_id).expanduser().is_dir() else str(path_or_id)
    model = Model(name, hf, tokenizer, adapter, hash_files(files))
    _check_tokenizer(model)
    check_model(model)
    return model
