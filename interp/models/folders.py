"""Model folders: found by name or fetched from the hub, and what lies in them.

A model is named by a folder in Hugging Face format, or by a hub id: `owner/name`, or
`owner/name@revision` with a branch, a tag or a commit. A folder of that name comes first. Nothing
is fetched unless the text names no folder and has the form of a hub id.

Only safetensors are read, because other formats can run code when opened, and no code that comes
with a model is executed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from interp.errors import explain_failure
from interp.files import read_json

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_HUB_ID = re.compile(r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>\w[\w./-]*))?")
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
    known = _HUB_ID.fullmatch(path_or_id)
    if known is None or folder.exists():
        raise ValueError(
            f"a model is a folder with config.json and safetensors, or a hub id 'owner/name', or "
            f"'owner/name@revision' (a branch, a tag or a commit); there is no folder "
            f"{path_or_id!r} (looked in {Path.cwd()}), and it does not have the form of a hub id"
        )
    from huggingface_hub import snapshot_download

    with explain_failure(
        f"there is no folder {path_or_id!r} (looked in {Path.cwd()}), and it could not be "
        f"fetched from the hub as a model id",
        "Likely causes: a name or a revision that is misspelt, or no network. Give a folder",
    ):
        wanted: list[str] = list(_HUB_FILES if with_weights else _HUB_FILES[1:])
        return Path(
            snapshot_download(known["id"], revision=known["revision"], allow_patterns=wanted)
        )


def read_architecture(folder: Path) -> str:
    """The class of a model, as its config.json names it.

    Raises:
        ValueError: If there is no config.json, or it names none.
    """
    path = folder / "config.json"
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


def check_weight_files(folder: Path) -> list[Path]:
    """The weight files of a checkpoint, after a look whether they are whole.

    Raises:
        ValueError: If one is missing or damaged.
    """
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


def holds_tokenizer(folder: Path) -> bool:
    """Whether a folder holds the vocabulary of a tokenizer."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder.

    Raises:
        ValueError: If there is none, or it cannot be loaded.
    """
    from transformers import AutoTokenizer

    # Without one of these transformers makes an empty tokenizer of some families.
    if not holds_tokenizer(folder):
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
