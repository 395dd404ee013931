"""The SAEs that come with the project, and how they are trained.

A folder ``<organism>-s<seed>`` holds an SAE as sae-lens reads it and ``card.json``: the checksum of
the model's weights, the site, the settings, the texts, figures measured on held-out texts, and for
every variable whose truth is known the latent that matches it best, with the class that token
injection gave it. Two sites have settings of their own:

- `MIDDLE`, after the middle one of three layers, for every base organism: another layer follows, so
  latents can be tested by intervening on them.
- `LAST`, after the last layer, for `base`. Here latents represent the running value; in the middle
  they do not. At the equals sign a linear probe decodes the result at both sites, but in the middle
  the result explains little variance compared with the step, and the SAE spends its latents on
  steps; after the last layer it explains much, with a direction per value. The settings of this
  site were chosen on `base`, seed 0; seeds 1 and 2 confirm them. A position encodes two things
  there, the word that was read and the word that comes next; with more latents per position weak
  latents of other values are active, too.

After the last layer the latents represent the number about to be written. At the equals sign that
is the result; the same latents are active before the same number elsewhere.

Neither the texts that set the threshold nor those that are measured ask a question that trained the
SAE (`interp.organisms.saes.sae_documents`).
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from interp.errors import NotMeasurableError
from interp.files import read_json, write_file
from interp.methods.activation_store import capture
from interp.methods.saes.fidelity import Fidelity, measure_fidelity
from interp.methods.saes.injection import Falsification, Injection, falsify, top_tokens
from interp.methods.saes.latent_scores import Match, Variable, match_latents
from interp.methods.saes.latents import encode_rows, sae_reader
from interp.methods.saes.training import WEIGHTS, SaeSettings, calibrate, save_sae, train_sae
from interp.models import Model, load_model
from interp.models.identity import hash_folder
from interp.organisms.documents import Document
from interp.organisms.recipes import RECIPES, WORDS
from interp.organisms.saes.known_variables import arith_variables, chain_variable
from interp.organisms.saes.sae_documents import draw_documents, draw_unseen, split_in_half
from interp.organisms.words import BOS, EOS, PAD, QUESTION, THINK
from interp.organisms.zoo import folder_name, organism_path
from interp.sites import Site, SiteOrName, as_site

CARD = "card.json"
MIDDLE, LAST = Site(1, "resid_post"), Site(2, "resid_post")
SETTINGS: Mapping[Site, SaeSettings] = {
    MIDDLE: SaeSettings(),
    LAST: SaeSettings(d_sae=128, k=2.0, steps=5000),
}
"""How the bundled SAEs of each site are trained."""
N_DOCUMENTS = 8000
N_HELD_OUT = 800
N_CLEAN = 150
"""Texts without a chain into which tokens are injected."""


def saes_folder() -> Path:
    """The folder of the bundled SAEs, ``artifacts/saes`` of the repository."""
    return Path(__file__).resolve().parents[3] / "artifacts" / "saes"


def find_sae(model: Model, root: Path | None = None, *, site: SiteOrName = MIDDLE) -> Path:
    """The bundled SAE of a model at a site; the model is known by the checksum of its weights.

    Raises:
        NotMeasurableError: If there is none; the message lists those there are.
    """
    site = as_site(site)
    cards = sorted((root or saes_folder()).glob(f"*/{CARD}"))
    for path in cards:
        card = read_json(path, "model_sha256", "site")
        if (card["model_sha256"], card["site"]) == (model.weights_sha256, str(site)):
            return path.parent
    known = ", ".join(path.parent.name for path in cards) or "none"
    raise NotMeasurableError(
        f"an SAE belongs to one model and site, and none is bundled for {model.name} at {site}; "
        f"there are: {known}. Name the folder of another SAE"
    )


def hash_sae(folder: str, model: Model) -> dict[str, str]:
    """Checksum of the SAE in a folder, or of the bundled one of a model; empty if there is none.

    Raises:
        ValueError: The folder holds no SAE.
        OSError: There is no such folder.
    """
    try:
        return {"sae": hash_folder(Path(folder) if folder else find_sae(model))}
    except NotMeasurableError:
        return {}


def make_sae(
    name: str,
    folder: Path,
    *,
    seed: int = 0,
    site: SiteOrName = MIDDLE,
    training: SaeSettings | None = None,
    n_documents: int = N_DOCUMENTS,
    root: Path | None = None,
) -> Path:
    """Trains, measures and writes the SAE of a base organism.

    Args:
        name: Of a recipe with pretraining, such as ``base``.
        folder: The SAE goes into ``folder/<name>-s<seed>``, with ``-<site>`` added if not `MIDDLE`.
        seed: Of the organism; texts and training have seeds of their own.
        site: A stream as wide as the residual stream.
        training: Settings; by default those of the bundled SAEs of the site.
        n_documents: Texts that are read for the training.
        root: Folder of organisms; the bundled ones unless given.

    Returns:
        Its folder.

    Raises:
        ValueError: If the recipe is unknown or has no pretraining.
    """
    site = as_site(site)
    settings = training or SETTINGS.get(site, SaeSettings())
    model = load_model(organism_path(name, seed, root=root))
    documents = draw_documents(name, n_documents, seed=0)
    held_out = draw_unseen(name, N_HELD_OUT, seed=1, trained=documents)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        store = capture({"model": model}, _ids(documents), [site], Path(place), progress=name)
        batches = store.batches("model", site, settings.batch, seed=settings.seed)
        about = {"model_name": folder_name(name, seed)}
        sae = train_sae(batches, model.d_model, site, settings, about)
    with tempfile.TemporaryDirectory() as place:
        # The threshold is set on texts that neither train the SAE nor measure it.
        unseen = draw_unseen(name, N_HELD_OUT, seed=2, trained=documents)
        others = capture({"model": model}, _ids(unseen), [site], Path(place))
        calibrate(sae, others.values("model", site), settings.k, dtype="float16")
    target = folder / (folder_name(name, seed) + ("" if site == MIDDLE else f"-{site}"))
    save_sae(target, sae)
    card = {
        "name": name,
        "seed": seed,
        "site": str(site),
        "model_sha256": model.weights_sha256,
        "sae_sha256": _sha256(target / WEIGHTS),
        "training": asdict(settings),
        "n_documents": n_documents,
        "n_tokens": store.n_tokens,
        "texts_sha256": store.manifest["rows_sha256"],
        "seconds": round(time.monotonic() - started, 1),
        **measure_latents(sae, model, name, held_out),
    }
    write_file(target / CARD, (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())
    return target


def format_card(folder: Path) -> list[str]:
    """The card of an SAE as text: its figures, then a line for each variable."""
    card = read_json(folder / CARD, "figures", "matches")
    figures = ", ".join(f"{name} {value:.3g}" for name, value in card["figures"].items())
    texts = [f"{folder.name}: {figures}"]
    for match in card["matches"]:
        group = ""
        if len(match["group"]) > 1:
            group = (
                f"; any of {' '.join(map(str, match['group']))}: precision "
                f"{match['group_precision']:.2f}, recall {match['group_recall']:.2f}"
            )
        texts.append(
            f"{match['variable']:<20} latent {match['latent']:>4}  precision "
            f"{match['precision']:.2f}  recall {match['recall']:.2f}  AUROC "
            f"{match['auroc']:.2f}  (base rate {match['base_rate']:.2f})  {match['kind']}, "
            f"d {match['d']:.2f}: {' '.join(match['tokens'])}{group}"
        )
    return texts


def measure_latents(
    sae: Any, model: Model, name: str, held_out: Sequence[Document]
) -> dict[str, Any]:
    """Figures of an SAE, and how well its latents match known variables, on held-out texts.

    Args:
        sae: In inference form, calibrated.
        model: Whose activations it reads.
        name: Recipe of the model.
        held_out: Texts of its pretraining.

    Returns:
        ``figures`` and ``matches``, as in the card.
    """
    rows = _ids(held_out)
    fidelity = measure_fidelity(sae, model, rows, [document.learned for document in held_out])
    ids = WORDS[RECIPES[name].world].ids
    variables = _variables(name, rows, ids)
    if not variables:
        return {"figures": _figures(fidelity), "matches": []}
    read = sae_reader(sae, model)
    latents = encode_rows(read, rows)
    matches = match_latents(latents.acts, variables, split_in_half(rows, ids))
    injection = Injection()
    special = [ids[word] for word in (PAD, BOS, EOS)]
    tokens = {
        match.latent: top_tokens(latents, match.latent, injection, special) for match in matches
    }
    clean = [row for row in rows if ids[THINK] not in row and ids[QUESTION] in row][:N_CLEAN]
    classes = {result.latent: result for result in falsify(read, tokens, clean, injection)}
    words = {index: word for word, index in ids.items()}
    return {
        "figures": _figures(fidelity),
        "matches": [_entry(match, classes[match.latent], words) for match in matches],
    }


def _ids(documents: Sequence[Document]) -> list[tuple[int, ...]]:
    return [document.ids for document in documents]


def _variables(
    name: str, rows: Sequence[Sequence[int]], ids: Mapping[str, int]
) -> tuple[Variable, ...]:
    inside = chain_variable(rows, ids)
    if inside is None:
        return ()
    return (inside, *(arith_variables(rows, ids) if RECIPES[name].world == "arith" else ()))


def _figures(fidelity: Fidelity) -> dict[str, float]:
    recovered = {
        "loss_recovered": fidelity.loss_recovered,
        "loss_recovered_of_mean": fidelity.loss_recovered_of_mean,
    }
    return {key: round(value, 5) for key, value in {**asdict(fidelity), **recovered}.items()}


def _entry(match: Match, injected: Falsification, words: Mapping[int, str]) -> dict[str, Any]:
    figures = {key: round(v, 4) if isinstance(v, float) else v for key, v in asdict(match).items()}
    return figures | {
        "kind": injected.kind,
        # d may be infinite, which JSON cannot hold.
        "d": round(min(injected.d, 99.0), 3),
        "d_alike": round(min(injected.d_alike, 99.0), 3),
        "way": injected.way,
        "tokens": [words[token] for token in injected.tokens],
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
