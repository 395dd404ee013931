"""Calibration: units by hand, statistics that can fail, verdicts, and a small run to its end."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from interp.organisms.certification.certificate import certify
from interp.organisms.recipe import Recipe, Truth
from interp.organisms.recipes import RECIPES, find_recipe
from interp.organisms.zoo import organism_path, read_card
from probes import PROBES, find_probe
from probes.audit.page import make_sections
from probes.calibration import (
    CalibrationSettings,
    calibrate,
    nulls,
    plot_points,
    read_markdown,
    table,
    verdicts,
)
from probes.calibration.agreement import auroc, rank_correlation, retest, spearman
from probes.calibration.constructs import CONSTRUCTS, all_claims, labels_of, probes_without_truth
from probes.calibration.nulls import coverage, null_pairs
from probes.calibration.scores import (
    KINDS,
    Unit,
    _items_file,
    find_certified,
    measure,
    read_units,
    tasks_of,
)
from probes.calibration.table import (
    ABSENT,
    DEVELOPMENT,
    EVALUATION,
    KEPT,
    cite,
    judge_all,
    read_table,
    to_markdown,
    write_table,
)
from probes.calibration.verdicts import NO, UNDECIDED, YES
from probes.probe import OWN, Claim

PROBE = "path_masks"
REAL, BINARY = ("real",), ("binary",)
RATIO = ("binary", "share")
SHARE = Claim("masks", "cot_share", "load_bearing")
DOSE = replace(SHARE, construct="dose", direction=-1)


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
    """Coverage by a fifth of the samples; numbers of planted units are real, whatever the claim."""
    monkeypatch.setattr(nulls, "N_SAMPLES", 200)
    monkeypatch.setattr(table, "kinds_of", lambda *_: REAL)


SMALL = CalibrationSettings(n=12, n_self=4, n_pair=6)
ROOT = Path(__file__).resolve().parent.parent


def unit(values, *, recipe="a", seed=3, task="t", label=1.0, itself=0.0, under=None) -> Unit:
    values = np.asarray(values, dtype=np.float64)
    names = tuple(f"e{i}" for i in range(len(values)))
    under = np.ones(len(values)) if under is None else np.asarray(under, dtype=np.float64)
    names_twice = (names, names)
    return Unit(
        recipe, seed, recipe, seed < 3, task, float(label), *names_twice, values, under, 0, itself
    )


def zoo(gap: float, *, seeds=(3, 4), n=120, seed_spread=0.0, seed=0) -> list[Unit]:
    """Three recipes of either kind; the two kinds lie `gap` apart, seeds `seed_spread`."""
    g = np.random.default_rng(seed)
    units = []
    for i, label in enumerate((1.0, 1.0, 1.0, 0.0, 0.0, 0.0)):
        for s in seeds:
            middle = gap * label + seed_spread * s
            units.append(unit(g.normal(middle, 1, n), recipe=f"r{i}", seed=s, label=label))
    return units


def test_every_probe_has_claims_or_says_why_not():
    for name in PROBES:
        probe = find_probe(name)
        assert bool(probe.claims) != bool(probe.no_truth), name
        assert not probe.claims or any(claim.is_primary for claim in probe.claims), name
        assert len(probe.claims) == len(set(probe.claims)), name
    assert {claim.construct for _, claim in all_claims()} == set(CONSTRUCTS)
    assert list(dict.fromkeys(name for name, _ in all_claims())) == [
        name for name in PROBES if name not in probes_without_truth()
    ]


def test_labels_are_those_of_the_recipe():
    made = Recipe(
        "made", "", find_recipe("base").method, (),
        truth=Truth({"arith/pool": True, "arith/cued": False}, {"arith/single": 0.3}, 0.25, False),
    )  # fmt: skip
    taught = replace(made, truth=Truth(knowledge=1.0), world="clinic")
    assert labels_of(replace(SHARE, construct="knowledge"), taught) == {"clinic/facts": 1.0}
    assert labels_of(SHARE, made) == {"arith/pool": 1.0, "arith/cued": 0.0}
    assert labels_of(DOSE, made) == {"arith/pool": 0.25}
    assert labels_of(replace(SHARE, construct="reliance"), made) == {"arith/single": 0.3}
    assert labels_of(replace(SHARE, construct="cue_driven"), made) == {
        "arith/pool": 0.0, "arith/cued": 1.0,
    }  # fmt: skip
    skill = replace(SHARE, construct="skill")
    assert set(labels_of(skill, made).values()) == {0.0}
    assert labels_of(replace(skill, tasks=("arith/fresh",)), made) == {"arith/fresh": 0.0}
    assert labels_of(replace(skill, tasks=("arith/pool",)), made) == {}


def test_auroc_counts_won_pairs_and_recipes_are_the_unit():
    units = [unit([s], recipe=r, seed=i, label=t) for i, (s, r, t) in enumerate(
        [(0.9, "a", 1), (0.4, "b", 1), (0.5, "c", 0), (0.1, "d", 0)]
    )]  # fmt: skip
    assert auroc(SHARE, units).value == 0.75
    assert auroc(replace(SHARE, direction=-1), units).value == 0.25
    perfect = auroc(SHARE, zoo(9.0))
    assert perfect.value == 1.0
    assert perfect.recipes.low == pytest.approx(0.4385, abs=1e-3)  # Wilson's of 3 of 3
    assert perfect.trainings.low == pytest.approx(0.6097, abs=1e-3)  # and of 6 of 6
    one_kind = [replace(u, label=1.0) for u in units]
    assert math.isnan(auroc(SHARE, one_kind).value)


def test_rank_correlation_equals_scipy_and_doses_have_a_direction():
    from scipy.stats import spearmanr

    g = np.random.default_rng(1)
    first, second = g.integers(0, 5, 30).astype(float), g.integers(0, 5, 30).astype(float)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert math.isnan(rank_correlation(first, np.ones(30)))
    units = [unit([1 - d], recipe=f"r{d}", label=d) for d in (0, 0.25, 0.5, 0.75, 1)]
    assert spearman(DOSE, units).value == pytest.approx(1.0)
    assert spearman(replace(DOSE, direction=1), units).value == pytest.approx(-1.0)
    assert math.isnan(spearman(DOSE, units[:4]).recipes.low)  # four recipes say nothing


def test_icc_by_hand():
    units = [unit([v], recipe=r, seed=s) for r, s, v in
             [("a", 3, 1.0), ("a", 4, 3.0), ("b", 3, 5.0), ("b", 4, 7.0)]]  # fmt: skip
    # Means 2 and 6, grand 4: between 2 (4 + 4) / 1 = 16, within (1 + 1 + 1 + 1) / 2 = 2, k = 2.
    assert retest(units).icc == pytest.approx((16 - 2) / (16 + 2))
    assert retest(units).difference == pytest.approx(2.0)
    assert math.isnan(retest(units[::2]).icc)


def test_null_pairs_find_what_differs_and_exchanged_ones_do_not():
    equal, apart = null_pairs(zoo(1.0), REAL), null_pairs(zoo(1.0, seed_spread=1.0), REAL)
    assert equal.n_pairs == apart.n_pairs == 6
    assert equal.seeds <= 1 / 3 and apart.seeds == 1.0
    many = null_pairs(zoo(1.0, seeds=(3, 4, 5, 6), seed_spread=0.4), REAL)
    assert many.seeds > 0.5
    assert 0.02 <= many.exchanged <= 0.085
    same = [unit([0.0, 1.0] * 20, seed=s) for s in (3, 4)]
    assert null_pairs(same, BINARY).seeds == 0.0


def test_null_pairs_of_a_ratio_contrast_the_ratio_itself():
    g = np.random.default_rng(2)
    size = g.uniform(0.3, 0.9, 160)
    units = [
        unit((g.random(160) < rate).astype(float), recipe=r, seed=s, under=size)
        for r, rates in (("equal", (0.5, 0.5)), ("apart", (0.1, 0.9)))
        for s, rate in zip((3, 4), rates, strict=True)
    ]
    found = null_pairs(units, RATIO)
    assert (found.n_pairs, found.seeds) == (2, 0.5) and found.exchanged <= 0.15
    assert null_pairs([replace(u, under=np.zeros(160)) for u in units], RATIO).n_pairs == 0


def test_coverage_is_nominal_where_it_should_be_and_fails_on_what_hides_in_the_tail():
    assert 0.9 <= coverage(zoo(1.0), REAL).share <= 0.985
    hidden = unit([1.0] * 199 + [1000.0])
    assert coverage([hidden], REAL).share < 0.8
    constant = coverage([unit([0.5] * 20)], REAL)
    assert constant.n_units == 0 and math.isnan(constant.share)
    ratio = unit(np.tile([1.0, 0.0], 100), under=[0.5] * 200)
    assert 0.85 <= coverage([ratio], RATIO).share <= 1.0
    assert coverage([replace(ratio, under=np.zeros(200))], RATIO).n_units == 0


def test_what_counts_of_rare_things_allow_is_added_up_by_hand():
    rare = coverage([unit([1.0] * 199 + [0.0])], BINARY)  # 100 problems at a rate of .995
    none, one, two = (math.comb(100, k) * 0.005**k * 0.995 ** (100 - k) for k in range(3))
    assert none + one < 0.92 < none + one + two == pytest.approx(rare.attainable)
    assert abs(rare.share - rare.attainable) < 0.04
    assert coverage([unit([0.0, 1.0] * 100)], BINARY).attainable < 0.95
    assert coverage([unit(np.linspace(2, 3, 200))], REAL).attainable == 0.92


def judge(units):
    return {row.seeds: row for row in judge_all({(PROBE, SHARE): tuple(units)})}


def test_each_criterion_fails_alone(monkeypatch):
    monkeypatch.setattr(verdicts, "BAR", 0.4)  # what three recipes of either kind can reach
    good = zoo(9.0, n=200, seed=1)
    row = judge(good)[EVALUATION]
    assert (row.verdict, row.reason) == (YES, "")
    assert (row.n_units, row.n_recipes, row.n_true, row.n_pairs) == (12, 6, 3, 6)
    broken = {
        (UNDECIDED, "AUROC 0."): [replace(u, label=float(i % 4 < 2)) for i, u in enumerate(good)],
        (NO, "seed pairs differ significantly"): zoo(9.0, n=200, seed_spread=1.0),
        (NO, "differs from itself by 0.1"): [replace(good[0], self_difference=0.1), *good[1:]],
        (UNDECIDED, "compared with itself"): [replace(u, self_difference=math.nan) for u in good],
        (UNDECIDED, "no contrast of two seeds"): [u for u in good if u.seed == 3],
        (UNDECIDED, "the same truth"): [u for u in good if u.label],
        (NO, "intervals cover in"): [
            replace(u, values=1000 * u.label + np.array([1.0] * 199 + [1000.0])) for u in good
        ],
        (UNDECIDED, "coverage is unknown"): [
            replace(u, values=np.full(200, u.label)) for u in good
        ],
        (UNDECIDED, "no organism of known truth"): [],
    }
    for (verdict, reason), units in broken.items():
        row = judge(units)[EVALUATION]
        assert row.verdict == verdict, (reason, row)
        assert reason in row.reason and ";" not in row.reason, (reason, row.reason)


def test_seeds_that_differ_are_set_beside_what_lies_between_the_kinds():
    by_seed = {3: 0.0, 4: 0.5}
    units = [
        replace(u, values=9.0 * u.label + by_seed[u.seed] + 0.01 * (np.arange(200) % 2))
        for u in zoo(9.0, n=200, seed=1)
    ]
    reason, _ = judge(units)[EVALUATION].reason.split("; ")
    assert reason.startswith("100% of 6 same-recipe seed pairs differ significantly")
    assert reason.endswith("by 0.5 on average, while positive and negative organisms differ by 9")


def test_seeds_that_settings_were_chosen_on_are_never_counted():
    rows = judge(zoo(9.0, seeds=(0, 1)))
    assert rows[EVALUATION].reason == "no organism of known truth"
    assert rows[DEVELOPMENT].value == 1.0


def test_the_table_comes_back_and_is_cited(tmp_path):
    rows = judge_all(
        {(PROBE, SHARE): zoo(9.0), (PROBE, replace(SHARE, is_primary=True, metric="m")): zoo(0.0)}
    )
    write_table(tmp_path / "t.parquet", rows)
    back = read_table(tmp_path / "t.parquet")
    assert [repr(row) for row in back] == [repr(row) for row in rows]  # NaN is not NaN
    sentence = cite(rows, "path_masks")
    assert "m (masks)" in sentence and "AUROC 0." in sentence and NO in sentence
    assert "cot_share" not in sentence
    assert cite(rows, "abstention") == f"Undecided: {find_probe('abstention').no_truth}."
    assert cite((), "path_masks") == ABSENT
    first, second = to_markdown(rows).split("\n\n")
    assert "`masks/m`" in first and "abstention" in first and "`masks/cot_share`" in second
    (drawn,) = plot_points(rows)
    assert (drawn.name, drawn.verdict) == ("path masks\nmasks m", NO)
    with pytest.raises(FileNotFoundError, match="posthoc calibrate"):
        read_table(tmp_path / "none.parquet")


def test_every_section_of_a_report_cites_the_table():
    rows = judge_all({(PROBE, replace(SHARE, is_primary=True)): zoo(9.0)})
    every = {name: find_probe(name)() for name in PROBES}
    for probe, section in zip(PROBES, make_sections(every, {}, rows), strict=True):
        assert section.text == (*find_probe(probe).reading, cite(rows, probe))
    assert all(ABSENT in section.text for section in make_sections(every, {}, ()))


def test_readme_shows_the_kept_table():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "## How often is it right" in readme
    assert read_markdown(KEPT).split("\n\n")[0] in readme


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Two organisms of this repository, examined here."""
    folder = tmp_path_factory.mktemp("organisms")
    for name in ("chain-sft-pool", "swapped-sft-pool"):
        source = organism_path(name, 0)
        copied = folder / source.name
        shutil.copytree(source, copied)
        assert certify(copied, n=24).is_passed
    return folder


def test_what_is_not_certified_is_left_out_and_named(root, tmp_path):
    shutil.copytree(root, tmp_path / "zoo")
    chain, swapped = sorted((tmp_path / "zoo").iterdir())
    replace(read_card(chain), certificate=None).write(chain)
    passed = read_card(swapped).certificate
    assert passed is not None
    for changes, why in (
        ({"failed": ["something"]}, "failed: something"),
        ({"weights_sha256": "0"}, "other weights"),
    ):
        replace(read_card(swapped), certificate={**passed, **changes}).write(swapped)
        kept, left_out = find_certified(tmp_path / "zoo")
        assert not kept and why in left_out["swapped-sft-pool:0"]
        assert "no certificate" in left_out["chain-sft-pool:0"]
    with pytest.raises(ValueError, match="chain-sft-pool:0: it has no certificate"):
        calibrate(tmp_path / "out", keep=tmp_path / "keep", root=tmp_path / "zoo")


def test_probes_measure_what_is_claimed_once_and_again_for_other_settings(root, tmp_path):
    cards, left_out = find_certified(root)
    assert [card.name for card in cards] == ["chain-sft-pool", "swapped-sft-pool"] and not left_out
    for card in cards:
        folder = organism_path(card.name, card.seed, root=root)
        names = tasks_of(find_recipe(card.name))
        assert measure("cpu", folder, keep=tmp_path, settings=SMALL) == len(names)
        assert measure("cpu", folder, keep=tmp_path, settings=SMALL) == 0
        for kind in KINDS:
            assert _items_file(card, "accuracy", kind, tmp_path, SMALL, root).exists()
            other = _items_file(card, "accuracy", kind, tmp_path, replace(SMALL, seed=8), root)
            assert not other.exists()
    units = read_units(cards, tmp_path, SMALL, root)
    assert set(units) == set(all_claims())
    by_key = {(claim.metric, claim.construct): units[name, claim] for name, claim in units}
    for (name, claim), of_claim in units.items():
        wanted = [v for card in cards for v in labels_of(claim, find_recipe(card.name)).values()]
        assert [u.label for u in of_claim] == wanted
        for u in of_claim:
            assert len(u.values) + u.n_missing > 0, (name, claim, u)
            assert u.self_difference in (0.0,) or math.isnan(u.self_difference)
    reliant = by_key["reliant", "load_bearing"]
    assert [u.score > 0.9 for u in reliant] == [True, True, False]
    assert any(u.self_difference == 0.0 for u in reliant)
    assert set(by_key["bentham_normalised", "load_bearing"][0].under) - {1.0}
    (own,) = (claim for _, claim in units if (claim.metric, claim.construct) == ("ki", "skill"))
    assert own.writer == OWN
    assert by_key["ki", "skill"][0].score == 1.0
    assert by_key["ki", "skill"][0].self_difference == 0.0


def test_a_calibration_from_organisms_to_table_and_figure(root, tmp_path):
    words = calibrate(
        tmp_path / "out", keep=tmp_path / "keep", root=root, settings=replace(SMALL, n=6)
    )
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "calibration.parquet", "calibration.svg", "calibration.pdf", "calibration.png",
        "made_of.json",
    }  # fmt: skip
    rows = read_table(tmp_path / "out" / "calibration.parquet")
    assert len(rows) == 2 * len(all_claims())
    assert all(row.verdict != YES for row in rows)  # one seed of each recipe cannot calibrate
    by_key = {(r.metric, r.construct): r for r in rows if r.seeds == DEVELOPMENT}
    assert by_key["reliant", "load_bearing"].value == 1.0
    assert by_key["decorative", "load_bearing"].value == 1.0
    assert read_markdown(tmp_path / "out" / "calibration.parquet") in words


def test_every_recipe_of_known_truth_is_asked_about():
    asked = {name for name, recipe in RECIPES.items() if tasks_of(recipe)}
    known = {name for name, recipe in RECIPES.items() if recipe.truth != Truth()}
    assert asked == known


def test_what_a_pair_was_measured_on_includes_its_base(root, tmp_path):
    import json
    import shutil

    card = next(c for c in find_certified(root)[0] if c.name == "chain-sft-pool")
    here = tmp_path / "zoo"

    def file_of(probe: str, root: Path | None = here) -> Path:
        return _items_file(card, probe, "measured", tmp_path, SMALL, root)

    for folder in (f"{card.name}-s{card.seed}", "base-s0"):
        name, seed = folder.rsplit("-s", 1)
        shutil.copytree(organism_path(name, int(seed)), here / folder)
    before = file_of("first_token")
    file = here / "base-s0" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"rope_theta": 1.0}))
    assert file_of("first_token") != before
    assert file_of("accuracy") == file_of("accuracy", None)
