"""The activation store: right numbers, the same bytes after a stop, no work without room."""

import itertools
import shutil
from types import SimpleNamespace

import pytest
import torch
from conftest import make_lens

from interp.methods import activation_store as store_module
from interp.methods.activation_store import Store, capture
from interp.sites import Site

SITES = [Site(1, "resid_post"), Site(2, "z")]
TOLERANCE = 2e-5
"""Float32, three layers: TransformerLens and Hugging Face sum in different orders."""


def make_rows(n=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 12, (n,), generator=generator).tolist()
    return [torch.randint(4, 40, (length,), generator=generator).tolist() for length in lengths]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def paired(tiny_pair, tmp_path_factory):
    models = {"base": tiny_pair.base, "post": tiny_pair.post}
    return capture(models, make_rows(), SITES, tmp_path_factory.mktemp("store"), shard_tokens=25)


def test_values_are_those_of_transformer_lens(paired, tiny_pair):
    rows, ends = make_rows(), paired.offsets.tolist()
    lens = make_lens(tiny_pair.base)
    found = {site: paired.values("base", site) for site in SITES}
    for number, row in enumerate(rows):
        _, cache = lens.run_with_cache(torch.tensor([row]))
        for site in SITES:
            truth = cache[str(site)][0].flatten(1)
            stored = found[site][ends[number] : ends[number + 1]]
            assert torch.allclose(stored, truth, atol=TOLERANCE), (number, site)


def test_tokens_and_shards_follow_the_rows(paired):
    rows = make_rows()
    assert paired.tokens.tolist() == [token for row in rows for token in row]
    assert paired.n_shards > 2
    spans = [shard["rows"] for shard in paired.manifest["shards"]]
    assert [n for first, last in spans for n in range(first, last)] == list(range(len(rows)))
    assert all(shard["n_tokens"] <= 25 for shard in paired.manifest["shards"])


def test_pairs_put_the_models_of_one_position_side_by_side(paired):
    site = SITES[0]
    base, post = paired.values("base", site), paired.values("post", site)
    assert paired.models == ("base", "post") and not torch.allclose(base, post, atol=0.01)
    index = {tuple(row.tolist()): n for n, row in enumerate(base)}
    for batch in itertools.islice(paired.pairs(site, 8, seed=1), 6):
        for position in batch:
            assert torch.equal(position[1], post[index[tuple(position[0].tolist())]])


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_an_epoch_has_every_position_once(paired, batch_size):
    n, site = paired.n_tokens, SITES[0]
    stream = paired.batches("post", site, batch_size, seed=3)
    n_epochs = 3
    drawn = torch.cat([next(stream) for _ in range(-(-n_epochs * n // batch_size))])
    truth = sorted(map(tuple, paired.values("post", site).tolist()))
    epochs = [drawn[k * n : (k + 1) * n] for k in range(n_epochs)]
    assert all(sorted(map(tuple, epoch.tolist())) == truth for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1]), "each epoch has an order of its own"
    again = next(paired.batches("post", site, batch_size, seed=3))
    assert torch.equal(again, drawn[:batch_size])
    assert not torch.equal(next(paired.batches("post", site, batch_size, seed=4)), again)


@pytest.mark.parametrize("stop_at", [0, 1, 2])
def test_killed_and_resumed_gives_the_same_bytes(tiny_pair, tmp_path, monkeypatch, stop_at):
    models = {"base": tiny_pair.base, "post": tiny_pair.post}
    whole = capture(models, make_rows(), SITES, tmp_path / "whole", shard_tokens=25)
    write, n_written = store_module.write_file, itertools.count()

    def killed(path, data):
        if path.name.startswith("shard") and next(n_written) == stop_at:
            path.with_name(f".{path.name}.1").write_bytes(data[: len(data) // 2])
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(store_module, "write_file", killed)
    with pytest.raises(KeyboardInterrupt):
        capture(models, make_rows(), SITES, tmp_path / "stopped", shard_tokens=25)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="not finished"):
        Store.open(tmp_path / "stopped")
    n_read = []
    monkeypatch.setattr(
        store_module, "run", lambda *a, run=store_module.run, **k: n_read.append(1) or run(*a, **k)
    )
    capture(models, make_rows(), SITES, tmp_path / "stopped", shard_tokens=25)
    assert len(n_read) == 2 * (whole.n_shards - stop_at), "what was finished is not read again"
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_a_short_disk_is_refused_before_work(tiny, tmp_path, monkeypatch):
    def no_work(*_, **__):
        raise AssertionError("a model was asked to read")

    n_tokens = sum(map(len, make_rows()))
    least = n_tokens * 2 * 32 * 4
    monkeypatch.setattr(store_module, "run", no_work)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=least))
    with pytest.raises(OSError, match="nothing was computed"):
        capture({"base": tiny}, make_rows(), SITES, tmp_path / "s", shard_tokens=25)
    monkeypatch.undo()
    made = capture({"base": tiny}, make_rows(), SITES, tmp_path / "s", shard_tokens=25)
    size = sum(path.stat().st_size for path in (tmp_path / "s").glob("shard*"))
    assert least < size < least + store_module.HEADER_BYTES * made.n_shards


def test_half_precision_rounds_and_refuses_what_does_not_fit(tiny, tmp_path, paired, tiny_copy):
    half = capture({"base": tiny}, make_rows(), SITES, tmp_path / "half", dtype="float16")
    exact = paired.values("base", SITES[0])
    assert torch.equal(half.values("base", SITES[0]), exact.half().float())
    from interp.models import load_model

    large = load_model(tiny_copy(seed=3))
    large.hf.model.embed_tokens.weight.data *= 1e6
    with pytest.raises(ValueError, match="too large for torch.float16"):
        capture({"base": large}, make_rows(), SITES, tmp_path / "large", dtype="float16")


def test_another_capture_in_the_same_folder_is_refused(tiny_pair, tmp_path):
    capture({"base": tiny_pair.base}, make_rows(), SITES, tmp_path)
    with pytest.raises(ValueError, match=r"models\.0\."):
        capture({"base": tiny_pair.post}, make_rows(), SITES, tmp_path)
    with pytest.raises(ValueError, match="rows_sha256"):
        capture({"base": tiny_pair.base}, make_rows(seed=1), SITES, tmp_path)


def test_unknown_names_are_refused_at_once(paired):
    with pytest.raises(ValueError, match=r"models \['base', 'post'\]"):
        paired.batches("bse", SITES[0], 8, seed=0)
    with pytest.raises(ValueError, match=r"blocks.1.hook_resid_post"):
        paired.pairs(Site(0, "resid_post"), 8, seed=0)
