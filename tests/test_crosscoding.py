"""Crosscoders of a pair and of its nulls: what they read, what they report, and the figure."""

import json
import math

import pytest
import torch

from interp.engine import run
from interp.methods.crosscoder import (
    NOISE,
    PAIR,
    PLANT,
    SAME,
    CrosscoderSettings,
    control_pairs,
    crosscode,
    load_crosscoder,
    paired_activations,
    read_reports,
)
from interp.models import ModelPair
from interp.results.plots import decoder_norms, save
from interp.results.summaries import summarise
from interp.sites import Site
from interp.tasks.registry import make_task
from probes.crosscoding import Crosscoding, describe_record, whole_texts
from probes.probe import Results

SITE = Site(1, "resid_post")
QUICK = CrosscoderSettings(d_sae=48, k=4, steps=250, batch_size=64, warmup=50, dead_after=4000)


@pytest.fixture(scope="module")
def texts(tiny):
    return whole_texts(tiny.tokenizer, make_task("arith/fresh", n=60, seed=0))


@pytest.fixture(scope="module")
def found(tiny_pair, texts, tmp_path_factory):
    return crosscode(tiny_pair, texts, SITE, QUICK, folder=tmp_path_factory.mktemp("activations"))


@pytest.fixture
def values(tiny_pair, texts, tmp_path):
    return paired_activations(tiny_pair, texts[:3], SITE, tmp_path)[0]


def test_texts_are_whole(tiny, texts):
    """Question, delimiters, chain and answer, as the organisms were trained on them."""
    task = make_task("arith/fresh", n=60, seed=0)
    for text, example in zip(texts, task.examples, strict=True):
        words = tiny.tokenizer.decode(text).split()
        assert " ".join(words[1:-1]) == (
            f"{example.question.removeprefix('<bos> ')} <think> {' '.join(example.steps)} "
            f"</think> A {example.answer}"
        )
        assert (words[0], words[-1]) == ("<bos>", "<eos>")


def test_pairs_are_both_models_at_one_position(tiny_pair, texts, tmp_path):
    values, of_text = paired_activations(tiny_pair, texts[:3], SITE, tmp_path)
    assert of_text.tolist() == [n for n, text in enumerate(texts[:3]) for _ in text[1:]]
    for place, model in enumerate((tiny_pair.base, tiny_pair.post)):
        alone = [run(model, [text], capture=[SITE]).captures[SITE][0][1:] for text in texts[:3]]
        assert torch.allclose(values[:, place], torch.cat(alone), atol=1e-4)
    kept = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    again, _ = paired_activations(tiny_pair, texts[:3], SITE, tmp_path)
    assert torch.equal(again, values)
    assert kept == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_nulls_have_the_base_and_as_much_change_as_the_pair(values):
    nulls = control_pairs(values, seed=0)
    assert torch.equal(nulls[SAME][:, 0], nulls[SAME][:, 1])
    assert torch.equal(nulls[NOISE][:, 0], values[:, 0])
    changes = [(x[:, 1] - x[:, 0]).norm(dim=-1) for x in (values, nulls[NOISE])]
    assert torch.allclose(*changes, rtol=1e-3)
    across = torch.cosine_similarity(values[:, 1] - values[:, 0], nulls[NOISE][:, 1] - values[:, 0])
    assert abs(float(across.mean())) < 0.1


def test_the_plant_adds_the_same_directions_to_other_positions(tiny_pair, texts, tmp_path):
    values, _ = paired_activations(tiny_pair, texts, SITE, tmp_path)
    length = float((values[:, 1] - values[:, 0]).norm(dim=-1).mean())
    added = [
        pair[:, 1] - pair[:, 0]
        for pair in (control_pairs(values, seed=seed)[PLANT] for seed in (0, 1))
    ]
    where = [x.norm(dim=-1) > 1e-3 * length for x in added]
    assert not torch.equal(*where)
    for x, at in zip(added, where, strict=True):
        assert 0.1 < float(at.float().mean()) < 0.2  # 1 - 0.98 ** 8 = 0.149
        singular = torch.linalg.svdvals(x)
        assert int((singular > 1e-3 * singular[0]).sum()) == 8
    both = torch.linalg.svdvals(torch.cat(added))
    assert int((both > 1e-3 * both[0]).sum()) == 8


def test_a_record_read_back_from_json_says_the_same(found):
    record = json.loads(json.dumps(found.record()))
    assert describe_record(record) == describe_record(found.record())
    for name, report in read_reports(record).items():
        assert torch.equal(report.delta, found.reports[name].delta)
        assert report.kinds == found.reports[name].kinds and report.fvu == found.reports[name].fvu


def test_errors_and_variances_of_the_texts_add_up_to_the_fvu(found):
    for name, fits in found.fits.items():
        for model in (0, 1):
            left, whole = (sum(getattr(fit, column)[model] for fit in fits)
                           for column in ("squared_error", "variance"))  # fmt: skip
            assert left / whole == pytest.approx(found.reports[name].fvu[model], rel=1e-4)
        shares = [share for fit in fits for share in fit.exclusive_share]
        assert all(0 <= share <= 1 for share in shares)
        has_exclusive = found.reports[name].exclusive_rate > 0
        assert any(share > 0 for share in shares) == has_exclusive


QUICK_PROBE = Crosscoding(
    d_sae=48, k=4, steps=250, batch_size=64, warmup=50, dead_after=4000
)  # fmt: skip


def test_the_probe_keeps_items_of_held_out_texts_a_record_and_the_crosscoders(tiny_pair, tmp_path):
    task = make_task("arith/fresh", n=300, seed=0)
    readers = {"base": tiny_pair.base, "post": tiny_pair.post}
    part = QUICK_PROBE.examine(readers, task, {}, seed=0, folder=tmp_path)
    held_out = {example.id for example in task.examples[::5]}  # 60: enough for a ratio
    measured = {item.example for item in part.items if item.value == item.value}
    assert measured == held_out
    assert {item.variant for item in part.items} == {PAIR, SAME, NOISE, PLANT}
    rows = summarise(
        part.items, pair="a", chance={task.name: 0.1}, seed=0, ratios=QUICK_PROBE.ratios
    )
    fvu = {(r.variant, r.reader): r.value for r in rows if r.metric == "fvu" and not r.contrast}
    for name, report in read_reports(part.record).items():
        for at, reader in enumerate(("base", "post")):
            assert fvu[name, reader] == pytest.approx(report.fvu[at], rel=1e-4)
    for name, write in part.files.items():
        write(tmp_path / name)
        assert load_crosscoder(tmp_path / name).d_sae == 48
    results = Results(tuple(rows), part.items, {task.name: part.record}, (task.name,), "", 0)
    assert QUICK_PROBE.describe(results) == describe_record(part.record)
    (drawing,) = QUICK_PROBE.figures(results)
    assert drawing.name == "crosscoding" and len(drawing.draw(drawing.data).axes) == 4


def test_what_cannot_be_trained_is_not_measurable_and_a_bug_is_no_such_thing(
    tiny_pair, monkeypatch
):
    task = make_task("arith/fresh", n=5, seed=0)
    readers = {"base": tiny_pair.base, "post": tiny_pair.post}
    for asked, reason in ((readers, "batches of 512"), ({"base": tiny_pair.base}, "a base and")):
        items = Crosscoding().run(asked, task, {}, seed=0)
        assert items and all(math.isnan(item.value) and reason in item.note for item in items)

    def broken(*_, **__):
        raise ValueError("a bug")

    monkeypatch.setattr("probes.crosscoding.crosscode", broken)
    with pytest.raises(ValueError, match="a bug"):
        Crosscoding().run(readers, task, {}, seed=0)


def test_reports_tell_every_latent_once(found):
    for report in found.reports.values():
        assert len(report.kinds) == QUICK.d_sae
        assert report.n_positions == found.reports[PAIR].n_positions
    lines = describe_record(found.record())
    rates = {name: report.exclusive_rate for name, report in found.reports.items()}
    assert found.null_rate == max(rates[SAME], rates[NOISE])
    assert ("not above" in lines[-2]) == (rates[PAIR] <= found.null_rate)
    shared = next(line for line in lines if line.startswith("shared"))
    assert [int(n) for n in shared.split()[1:]] == [
        found.reports[name].count("shared") for name in (PAIR, SAME, NOISE, PLANT)
    ]


def test_unrelated_models_share_less_than_a_model_with_itself(found):
    """Two random models have no common directions; the null of one model has nothing else."""
    pair, same = found.reports[PAIR], found.reports[SAME]
    assert pair.count("shared") / pair.n_judged < same.count("shared") / same.n_judged
    assert same.exclusive_rate == 0


def test_a_model_paired_with_itself_repeats_its_null(tiny, texts, tmp_path):
    result = crosscode(ModelPair(tiny, tiny), texts, SITE, QUICK, folder=tmp_path)
    assert result.reports[PAIR].kinds == result.reports[SAME].kinds
    assert result.reports[NOISE].kinds == result.reports[SAME].kinds
    assert result.reports[PLANT].kinds == result.reports[SAME].kinds


def test_the_figure_draws_each_judged_latent(found, tmp_path):
    figure = decoder_norms(found.reports)
    for ax, report in zip(figure.axes, found.reports.values(), strict=True):
        drawn = sum(patch.get_height() for c in ax.containers for patch in c)
        assert drawn == report.n_judged
    paths = save(figure, tmp_path, "decoder_norms")
    assert [path.stat().st_size > 1000 for path in paths] == [True] * 3
    with pytest.raises(ValueError, match="at least one report"):
        decoder_norms({})
