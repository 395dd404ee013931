"""Vector cards: one direction in one file, and the vector files of other tools.

Each library keeps its vectors in a form of its own, and most leave out what makes numbers
comparable: the site, the unit of dose and the model. A **card** is one safetensors file with the
unit vector (tensor ``vector``) and all of that as metadata. It is written bit for bit; numbers are
written so that reading them gives the same number.

What else can be read:

- a latent of an SAE in a folder of sae-lens (`load_latent`): its decoder row and its hook name;
- a GGUF control vector (`load_gguf`, repeng, llama.cpp, EasySteer): the tensor ``direction.N`` is
  added to what block N returns, which is ``blocks.N.hook_resid_post``. llama.cpp refuses N = 0;
- a bare safetensors file with one vector: say to which site it belongs.

Nothing here unpickles. A ``.pt`` or ``.bin`` file can run any code when it is read; convert it
where you trust it: ``safetensors.torch.save_file({"vector": v}, "vector.safetensors")``.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interp.errors import explain_failure, one_line
from interp.files import read_json, write_file
from interp.interventions.sae_forms import check_scale, written_hook
from interp.methods.directions import Direction, Source, make_direction
from interp.sites import Site, SiteOrName, as_site, parse_site

FORMAT = "posthoc-vector-1"
TENSOR = "vector"
GGUF_ARCHITECTURE = "controlvector"


def save_card(path: Path, direction: Direction) -> None:
    """Writes a direction as a card.

    Args:
        path: Ends in .safetensors.
        direction: What is written.

    Raises:
        ValueError: If the file's name ends otherwise.
        OSError: If it cannot be written; nothing is left behind.
    """
    from safetensors.torch import save

    if path.suffix != ".safetensors":
        raise ValueError(f"a card is a .safetensors file, received {path}. Rename it")
    reference = direction.reference_norm
    card = {
        "format": FORMAT,
        "site": str(direction.site),
        "norm": repr(direction.length),
        "reference_norm": "" if reference is None else repr(reference),
        "dose_unit": "mean residual norm at the site (reference_norm)",
        "source": json.dumps(vars(direction.source), sort_keys=True),
    }
    write_file(path, _in_order(save({TENSOR: direction.vector.contiguous()}, metadata=card)))


def load_vector(
    path: Path,
    *,
    site: SiteOrName | None = None,
    layer: int | None = None,
    tensor: str | None = None,
) -> Direction:
    """Reads a direction from a card, a bare safetensors file or a GGUF control vector.

    Args:
        path: The file.
        site: Where a bare vector belongs; a card and a GGUF file say so themselves.
        layer: Which layer of a GGUF file with several.
        tensor: Which tensor of a bare file with several.

    Returns:
        The direction. Its reference norm is known only from a card that has one.

    Raises:
        ValueError: If the file is of another kind, holds no usable vector, several where none was
            chosen, or does not say its site.
        OSError: If it cannot be read.
    """
    site = None if site is None else as_site(site)
    if path.suffix == ".gguf":
        return _chosen(path, load_gguf(path), layer)
    if path.suffix != ".safetensors":
        raise ValueError(
            f"vectors are read from .safetensors and .gguf, received {path}. Files of torch.save "
            f"(.pt, .bin, .pkl) can run code when they are read and are refused; convert them "
            f"where you trust them: safetensors.torch.save_file({{'vector': v}}, "
            f"'vector.safetensors')"
        )
    tensors, card = _read_safetensors(path)
    if card.get("format") != FORMAT:
        return _bare(path, tensors, site, tensor)
    if site is not None and str(site) != card["site"]:
        raise ValueError(f"{path} belongs to {card['site']}, but {site} was asked for")
    return _from_card(path, tensors, card)


def load_latent(folder: Path, latent: int) -> Direction:
    """The decoder row of one latent of an SAE as sae-lens saves it.

    Args:
        folder: Holds cfg.json and sae_weights.safetensors.
        latent: Its index.

    Returns:
        The direction, at the site where the latent writes (a transcoder's output); its length is
        the norm of the row.

    Raises:
        ValueError: If the config names no hook or one that is no site here, the SAE rescales its
            input, or the latent does not exist.
        OSError: If the folder is not complete.
    """
    from safetensors import safe_open

    cfg = read_json(folder / "cfg.json")
    # sae-lens 6 keeps the hook's name under "metadata", earlier versions at the top.
    about = {**cfg, **(cfg.get("metadata") or {})}
    check_scale(about.get("normalize_activations"))
    hook = written_hook(cfg)
    if not hook:
        raise ValueError(
            f"{folder / 'cfg.json'} names no hook, so the site of this SAE is unknown. Add "
            f'"metadata": {{"hook_name": "blocks.5.hook_resid_post"}} with the right layer; a '
            f'transcoder writes at its "hook_name_out"'
        )
    site = _site(folder, str(hook))
    file = folder / "sae_weights.safetensors"
    damaged = explain_failure(
        f"{file} holds no decoder W_dec that can be read",
        "Likely causes: an interrupted copy, or no SAE of sae-lens",
    )
    with damaged, safe_open(str(file), framework="pt") as weights:
        rows: Any = weights.get_slice("W_dec")  # one row is read, not the whole decoder
        n = rows.get_shape()[0]
        if not 0 <= latent < n:
            raise ValueError(f"the SAE in {folder} has latents 0 to {n - 1}, received {latent}")
        row: Tensor = rows[latent : latent + 1][0].float()
    if cfg.get("rescale_acts_by_decoder_norm"):  # such an SAE (TopK) decodes with normed rows
        row = row / row.norm()
    note = f"{cfg.get('architecture', 'SAE')} in {folder.name}, latent {latent}"
    return make_direction(
        row, site, Source("sae latent", (str(about.get("model_name", "?")),), note=note)
    )


def save_gguf(path: Path, direction: Direction, *, model_hint: str) -> None:
    """Writes a direction, at its own length, as a control vector for llama.cpp.

    Args:
        path: Ends in .gguf.
        direction: At a resid_post of layer 1 or above.
        model_hint: Architecture of the model in llama.cpp's words, e.g. 'llama'.

    Raises:
        ValueError: If the site cannot be expressed.
        ModuleNotFoundError: If the package gguf is missing.
    """
    layer = direction.site.layer
    if direction.site.stream != "resid_post" or not layer:
        raise ValueError(
            f"llama.cpp adds control vectors to what a block returns, from block 1 on; "
            f"{direction.site} is none of these places. Fit the direction at resid_post of layer "
            f"1 or above"
        )
    gguf = _gguf()
    # GGUFWriter takes a path; the draft keeps a file that breaks off away from `path`.
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / path.name
        writer = gguf.GGUFWriter(draft, GGUF_ARCHITECTURE)
        writer.add_string(f"{GGUF_ARCHITECTURE}.model_hint", model_hint)
        writer.add_uint32(f"{GGUF_ARCHITECTURE}.layer_count", 1)
        vector = (direction.vector.double() * direction.length).float()
        writer.add_tensor(f"direction.{layer}", vector.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        write_file(path, draft.read_bytes())


def load_gguf(path: Path) -> dict[int, Direction]:
    """Reads a control vector of llama.cpp.

    Args:
        path: The file.

    Returns:
        Layer -> direction.

    Raises:
        ValueError: If it holds anything but directions in float32.
        ModuleNotFoundError: If the package gguf is missing.
    """
    gguf = _gguf()
    by_layer: dict[int, Direction] = {}
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with explain_failure(
        f"{path} cannot be read as GGUF",
        "Likely causes: an interrupted copy, or a version of the format that the package gguf "
        "does not know: pip install --upgrade gguf",
    ):
        tensors = gguf.GGUFReader(path).tensors
    for tensor in tensors:
        name, _, layer = str(tensor.name).partition(".")
        if name != "direction" or not layer.isdecimal():
            raise ValueError(
                f"{path} is no control vector: their tensors are called direction.N, and it holds "
                f"{tensor.name!r}. Likely it is a whole model"
            )
        if tensor.tensor_type != gguf.GGMLQuantizationType.F32 or len(tensor.shape) != 1:
            raise ValueError(f"{tensor.name} in {path} is not one row of float32 numbers")
        site = Site(int(layer), "resid_post")
        vector = torch.tensor(tensor.data.copy())  # data is a memory map of the file
        by_layer[int(layer)] = make_direction(vector, site, Source("gguf file", note=path.name))
    if not by_layer:
        raise ValueError(
            f"{path} is no control vector: it holds no tensor called direction.N. Write one by "
            f"save_gguf, or by repeng"
        )
    return by_layer


def _in_order(data: bytes) -> bytes:
    """A safetensors file with its header sorted: the library's own order differs from run to run.

    The format is the length of the header in 8 bytes, the header, which ends on a multiple of 8
    bytes, and the numbers.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]


def _gguf() -> Any:
    if importlib.util.find_spec("gguf") is None:
        raise ModuleNotFoundError("GGUF files need the package gguf: pip install 'posthoc[smollm]'")
    import gguf

    return gguf


def _chosen(path: Path, by_layer: dict[int, Direction], layer: int | None) -> Direction:
    if layer is None and len(by_layer) == 1:
        return next(iter(by_layer.values()))
    if layer not in by_layer:
        raise ValueError(
            f"{path} has directions for the layers {sorted(by_layer)}, received layer={layer}. "
            f"Name one of them"
        )
    return by_layer[layer]


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            opened: Any = file
            return {key: opened.get_tensor(key) for key in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or a damaged one: {error}") from error


def _from_card(path: Path, tensors: dict[str, Tensor], card: dict[str, str]) -> Direction:
    try:
        parts: dict[str, Any] = json.loads(card["source"])
        source = Source(
            str(parts["method"]),
            models=tuple(parts.get("models", ())),
            weights_sha256=tuple(parts.get("weights_sha256", ())),
            texts_sha256=tuple(parts.get("texts_sha256", ())),
            note=str(parts.get("note", "")),
        )
        reference = float(card["reference_norm"]) if card["reference_norm"] else None
        return Direction(
            tensors[TENSOR], _site(path, card["site"]), source, reference, float(card["norm"])
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{path} is a vector card with something missing or broken: {one_line(error)}"
        ) from error


def _bare(
    path: Path, tensors: dict[str, Tensor], site: Site | None, tensor: str | None
) -> Direction:
    name = tensor if tensor is not None else next(iter(tensors)) if len(tensors) == 1 else ""
    if name not in tensors:
        raise ValueError(
            f"{path} holds the tensors {', '.join(sorted(tensors)) or 'none'}, received "
            f"tensor={tensor!r}. Name one of them"
        )
    vector = tensors[name].squeeze()
    if vector.ndim != 1 or not vector.is_floating_point():
        raise ValueError(
            f"{name!r} in {path} has shape {tuple(tensors[name].shape)} and type "
            f"{tensors[name].dtype}; a vector has one axis of floating numbers"
        )
    if site is None:
        raise ValueError(
            f"{path} is a bare vector and does not say where it belongs. Name its site, for "
            f"example 'blocks.12.hook_resid_post'"
        )
    return make_direction(
        vector.float(), site, Source("safetensors file", note=f"{path.name}: {name}")
    )


def _site(path: Path, text: str) -> Site:
    try:
        return parse_site(text)
    except ValueError as error:
        raise ValueError(f"{path} names a place that is no site here: {error}") from None
