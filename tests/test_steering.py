"""Steering: doses, receipts, coherence and controls, against what is worked out by hand."""

import csv
import math
from dataclasses import replace

import pytest
import torch
from test_cli import call

from interp.chains.completion_format import find_format
from interp.chains.texts import encode
from interp.engine import generate, run
from interp.methods.directions import (
    Source,
    collect,
    make_direction,
    mean_difference,
    random_directions,
    with_reference,
)
from interp.methods.steering import (
    DoseRow,
    SweepSettings,
    choose_dose,
    compare,
    compression_ratio,
    distinct_n,
    random_band,
    read_steered,
    steer,
    surprisal,
    sweep,
    write_steered,
)
from interp.methods.vector_cards import save_card
from interp.models import load_model
from interp.organisms.zoo import organism_path
from interp.results.plots import dose_response
from interp.results.run_folder import read_rows, write_rows
from interp.sites import Site
from interp.tasks import make_task

SITE = Site(1, "resid_post")
LAST = Site(2, "resid_post")
ROWS = [[1, 6, 17, 30, 12], [1, 6, 20], [1, 6, 18, 22, 9, 14]]


def planted(site=SITE, seed=0, reference=4.0):
    raw = torch.randn(32, generator=torch.Generator().manual_seed(seed))
    return make_direction(raw, site, Source("test"), reference_norm=reference)


def edited_positions(positions, n_prompt, n_read):
    """Positions that a specification names, in order."""
    spans = {"all": (0, n_read), "prompt": (0, n_prompt), "generated": (n_prompt, n_read)}
    if isinstance(positions, str):
        return tuple(range(*spans[positions]))
    return tuple(sorted(at % n_prompt for at in positions))


def test_a_dose_at_the_last_site_moves_the_logits_as_computed_by_hand(tiny):
    direction = planted(LAST)
    found = run(tiny, ROWS, interventions=[steer(direction, 0.7)], capture=[LAST])
    plain = run(tiny, ROWS, capture=[LAST])
    weight = tiny.hf.get_output_embeddings().weight
    for row in range(3):
        x = plain.captures[LAST][row] + 0.7 * 4.0 * direction.vector
        eps = tiny.hf.config.rms_norm_eps
        normed = x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * tiny.hf.model.norm.weight
        assert torch.allclose(found.logits[row], normed @ weight.T, atol=1e-4)
    assert found.receipts[0].edit_norm == pytest.approx(2.8, rel=1e-5)


def test_a_planted_token_direction_makes_the_model_write_that_token(tiny):
    weight = tiny.hf.get_output_embeddings().weight.detach()
    direction = make_direction(weight[9].clone(), LAST, Source("test"), reference_norm=100.0)
    written = write_steered(tiny, ROWS, direction, 5.0, max_new_tokens=4)
    assert all(one.ids == (9, 9, 9, 9) for one in written)
    assert all(one.ids != (9, 9, 9, 9) for one in write_steered(
        tiny, ROWS, direction, 0.0, max_new_tokens=4))  # fmt: skip


def test_zero_dose_writes_exactly_the_unsteered_text_and_costs_no_kl(tiny):
    direction = planted()
    plain = generate(tiny, ROWS, max_new_tokens=6)
    zero = write_steered(tiny, ROWS, direction, 0.0, max_new_tokens=6)
    assert [one.ids for one in zero] == [one.ids for one in plain]
    texts = [(row, one.ids) for row, one in zip(ROWS, plain, strict=True)]
    read = read_steered(tiny, texts, direction, 0.0)
    assert [one.kl for one in read] == [0.0, 0.0, 0.0]
    assert all(one.kl > 1e-4 for one in read_steered(tiny, texts, direction, 1.0))


@pytest.mark.parametrize(
    ("positions", "per_row"),
    [("all", lambda n: n + 4), ("prompt", lambda n: n), ("generated", lambda n: 4),  # noqa: ARG005
     ((-1,), lambda n: 1), ((0, -1), lambda n: 2)],  # noqa: ARG005
)  # fmt: skip
def test_every_steered_position_is_listed_and_read_texts_are_edited_at_the_same(
    tiny, positions, per_row
):
    direction = planted()
    written = write_steered(tiny, ROWS, direction, 0.5, max_new_tokens=5, positions=positions)
    for row, one in zip(ROWS, written, strict=True):
        assert one.receipt.n_positions == per_row(len(row)), "the last new token is never read"
        assert one.receipt.edit_norm == pytest.approx(2.0, rel=1e-4)
        assert one.receipt.positions == edited_positions(positions, len(row), len(row) + 4)
    texts = [(row, one.ids) for row, one in zip(ROWS, written, strict=True)]
    for one, read in zip(
        written, read_steered(tiny, texts, direction, 0.5, positions=positions), strict=True
    ):
        assert read.receipt is not None
        assert read.receipt.positions == one.receipt.positions


def test_a_read_text_is_steered_as_a_written_one(tiny):
    """Log-probabilities of generation equal those of the teacher-forced pass over its text."""
    direction = planted()
    for positions in ("all", "prompt", "generated", (-1,)):
        edit = steer(direction, 0.8, positions=positions)
        for row in ROWS:
            one = generate(tiny, [row], max_new_tokens=4, interventions=[edit])[0]
            whole = [*row, *one.ids][:-1]
            read = run(tiny, [whole], interventions=[edit], prompt_lengths=[len(row)])
            logprobs = read.logits[0].log_softmax(-1)
            found = [float(logprobs[len(row) - 1 + at, token]) for at, token in enumerate(one.ids)]
            assert found == pytest.approx(list(one.logprobs), abs=1e-4)
    with pytest.raises(ValueError, match=r"asks for positions \(5,\), but row 0 has 5 tokens"):
        run(
            tiny,
            [[1] * 9],
            interventions=[steer(direction, 1.0, positions=(5,))],
            prompt_lengths=[5],
        )


def test_kl_and_surprisal_by_loops(tiny):
    direction, row, new = planted(), ROWS[0], (4, 9, 9)
    ids = [*row, *new][:-1]
    p = run(tiny, [ids]).logits[0].double().softmax(-1)
    q = run(tiny, [ids], interventions=[steer(direction, 0.6)]).logits[0].double().softmax(-1)
    kl = [
        sum(float(a * (a / b).log()) for a, b in zip(p[at], q[at], strict=True))
        for at in range(len(row) - 1, len(ids))
    ]
    found = read_steered(tiny, [(row, new), (ROWS[1], (3,))], direction, 0.6)[0]
    assert found.kl == pytest.approx(sum(kl) / 3, rel=1e-4)
    assert found.kl_rest == pytest.approx(sum(kl[1:]) / 2, rel=1e-4)
    assert torch.allclose(found.first.double().exp(), q[len(row) - 1], atol=1e-5)
    nats = [-math.log(float(p[len(row) - 1 + at, token])) for at, token in enumerate(new)]
    assert surprisal(tiny, [(ROWS[1], ()), (row, new)])[1] == pytest.approx(sum(nats) / 3, rel=1e-4)
    assert math.isnan(surprisal(tiny, [(row, ())])[0])
    with pytest.raises(ValueError, match="at least one token after its prompt"):
        read_steered(tiny, [(row, ())], direction, 0.6)


def test_repetition_is_seen():
    assert distinct_n([1, 2, 3, 4]) == 1.0
    assert distinct_n([1, 1, 1, 1, 1]) == 0.25
    assert math.isnan(distinct_n([1]))
    varied = " ".join(str(n * n) for n in range(60))
    assert compression_ratio("wait " * 60) > 3 * compression_ratio(varied)
    assert math.isnan(compression_ratio(""))


def test_random_controls_are_as_long_after_rounding_to_the_models_format(tiny_copy):
    model = load_model(tiny_copy(), dtype="bfloat16")
    direction = planted()
    arms = [direction, *random_directions(direction, 4, seed=3)]
    norms = [
        write_steered(model, ROWS, one, 1.0, max_new_tokens=2)[0].receipt.edit_norm for one in arms
    ]
    assert norms == pytest.approx([4.0] * 5, rel=0.01)


@pytest.fixture(scope="module")
def base():
    return load_model(organism_path("base"))


@pytest.fixture(scope="module")
def think_direction(base):
    """A push at the last site that moves the logit of the opening word and of no other."""
    task = make_task("arith/fresh", n=16, seed=5)
    opened = base.tokenizer.convert_tokens_to_ids("<think>")
    weight = base.hf.get_output_embeddings().weight.detach().float()
    raw = torch.linalg.pinv(weight)[:, opened] / base.hf.model.norm.weight.detach().float()
    site = Site(base.n_layers - 1, "resid_post")
    rows = [encode(base.tokenizer, example.question) for example in task.examples]
    norm = collect(base, rows, [(-1,)] * 16, site).mean_norm
    return make_direction(raw, site, Source("unembedding row"), reference_norm=norm)


@pytest.fixture(scope="module")
def rows(base, think_direction):
    settings = SweepSettings((-1.0, 0.5, 2.0), positions=(-1,), n_random=3, batch_size=16)
    other = with_reference(random_directions(think_direction, 1, seed=99)[0], 123.0)
    return sweep(
        base,
        make_task("arith/fresh", n=12, seed=0),
        think_direction,
        settings,
        metrics={"n_new": lambda reading: float(len(reading.written.ids))},
        others={"another": other},
    )


def value(rows, metric, dose, direction="steered"):
    (found,) = [
        row for row in rows
        if (row.metric, row.dose, row.direction) == (metric, dose, direction)
    ]  # fmt: skip
    return found


def test_a_sweep_measures_every_arm_alike(rows):
    arms = {(row.direction, row.dose) for row in rows}
    names = ("steered", "random 0", "random 1", "random 2", "another")
    assert arms == {(name, dose) for name in names for dose in (-1.0, 0.0, 0.5, 2.0)}
    assert len(rows) == len(arms) * 9
    for row in rows:
        assert row.n_edits == 12, "one position of each of twelve questions"
        assert row.edit_norm == pytest.approx(
            abs(row.dose) * value(rows, "kl", 0.5).edit_norm / 0.5, rel=1e-3
        )
        if row.dose == 0:
            assert row.value == value(rows, row.metric, 0.0).value
            assert row.metric not in ("kl", "kl_rest") or row.low == row.value == row.high == 0.0


def test_p_think_and_accuracy_at_dose_zero_are_those_of_the_model(base, rows):
    from interp.chains.trace_writing import think_probability, write_traces

    task = make_task("arith/fresh", n=12, seed=0)
    expected = think_probability(base, task)
    assert value(rows, "p_think", 0.0).value == pytest.approx(sum(expected) / 12, abs=1e-4)
    traces = write_traces(base, task)
    assert value(rows, "accuracy", 0.0).value == pytest.approx(
        sum(trace.correct for trace in traces) / 12, abs=1e-6
    )


def test_a_direction_of_the_opening_word_raises_p_think_beyond_its_controls(rows):
    assert value(rows, "p_think", 2.0).value > 0.95
    assert value(rows, "p_think", -1.0).value < value(rows, "p_think", 0.0).value
    found = compare(rows, "p_think", kl_budget=100.0)
    assert found.chosen.dose == 2.0
    assert found.chosen.effect > found.band[1]
    assert found.p == 1 / 4
    assert [one.direction for one in found.others] == ["another"]
    assert compare(rows, "p_think", kl_budget=0.0).chosen.dose == 0.0
    assert compare(rows, "p_think", kl_budget=0.0).p == 1.0


def test_the_choice_is_the_largest_effect_within_the_budget(rows):
    made = [
        replace(row, value={-1.0: 0.1, 0.0: 0.3, 0.5: 0.6, 2.0: 0.9}[row.dose])
        if row.metric == "accuracy"
        else replace(row, value=abs(row.dose))
        for row in rows
        if row.direction == "steered" and row.metric in ("accuracy", "kl")
    ]
    assert choose_dose(made, "accuracy", kl_budget=1.0).dose == 0.5
    assert choose_dose(made, "accuracy", kl_budget=9.0).dose == 2.0
    assert choose_dose(made, "accuracy", kl_budget=1.0).effect == pytest.approx(0.3)
    assert choose_dose(made, "accuracy", kl_budget=1.0, want="fall").dose == -1.0
    rest = [replace(row, metric="kl_rest", value=0.0) for row in made if row.metric == "kl"]
    assert choose_dose([*made, *rest], "accuracy", kl_budget=1.0, cost="kl_rest").dose == 2.0
    with pytest.raises(ValueError, match="Metrics: accuracy, kl; directions: steered"):
        choose_dose(made, "acuracy", kl_budget=1.0)


def test_rows_go_to_a_table_and_a_figure(rows, tmp_path):
    write_rows(tmp_path / "doses.parquet", DoseRow, rows)
    back = read_rows(tmp_path / "doses.parquet", DoseRow)
    assert len(back) == len(rows)
    assert all(
        a == b or (math.isnan(a.low) and math.isnan(b.low)) for a, b in zip(back, rows, strict=True)
    )
    figure = dose_response(rows, metrics=("p_think", "accuracy", "kl"))
    assert len(figure.axes) == 3
    band = figure.axes[0].collections[0].get_datalim(figure.axes[0].transData).intervaly
    limits = [limit for pair in random_band(rows, "p_think").values() for limit in pair]
    assert tuple(band) == pytest.approx((min(limits), max(limits)))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["random", "direction", "another"]
    with pytest.raises(ValueError, match="no rows of the metric 'speed'"):
        dose_response(rows, metrics=("speed",))


def test_settings_and_directions_that_cannot_be_swept_are_refused(base, think_direction):
    for doses in ((), (0.0,), (1.0, 1.0), (float("inf"),)):
        with pytest.raises(ValueError, match=r"doses"):
            SweepSettings(doses)
    unknown = make_direction(think_direction.vector, think_direction.site, Source("test"))
    with pytest.raises(ValueError, match=r"Measure it: with_reference"):
        steer(unknown, 1.0)
    assert steer(with_reference(unknown, 2.0), 1.0).dose == 1.0
    task = make_task("arith/fresh", n=2, seed=0)
    with pytest.raises(ValueError, match="measured by every sweep"):
        sweep(base, task, think_direction, SweepSettings((1.0,)), metrics={"kl": lambda _: 0.0})
    elsewhere = replace(think_direction, site=Site(0, "resid_post"))
    with pytest.raises(ValueError, match="received 'a' at blocks.0"):
        sweep(base, task, think_direction, SweepSettings((1.0,)), others={"a": elsewhere})


def test_answers_are_read_only_from_whole_texts(base):
    from interp.methods.steering.readings import read_written
    from interp.methods.steering.steered import Written

    task = make_task("arith/fresh", n=1, seed=0)
    form, example = find_format(task, base), task.examples[0]
    receipt = write_steered(base, [[1]], planted_for(base), 0.0, max_new_tokens=1)[0].receipt

    def read(text, opening="free"):
        ids = encode(base.tokenizer, text)
        written = Written((1,), ids, text, True, receipt)
        return read_written(form, example, torch.zeros(1), written, opening)

    right = example.answer
    assert read(f"<think> 3 + 4 = 7 ; </think> A {right} <eos>").is_correct
    assert read(f"A {right} <eos>").is_correct
    assert read(f"{right} <eos>", "direct").is_correct
    assert read(f"3 + 4 = 7 ; </think> A {right} <eos>", "forced").is_correct
    for text in (
        f"<think> A {right} <eos>", f"A {right}", f"{right} <eos>", "A <eos>", "A + <eos>", ""
    ):  # fmt: skip
        assert not read(text).is_valid
    wrong = next(one for one in example.candidates if one != right)
    assert read(f"A {wrong} <eos>").is_valid
    assert not read(f"A {wrong} <eos>").is_correct


def planted_for(model):
    raw = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    return make_direction(raw, Site(0, "resid_post"), Source("test"), reference_norm=1.0)


def test_the_command_writes_texts_receipts_and_a_sweep(think_direction, tmp_path):
    path = tmp_path / "think.safetensors"
    save_card(path, think_direction)
    words = ("steer", "base", "--vector", str(path), "--positions", "last")
    code, text = call(*words, "--dose", "2", "--prompt", "<bos> Q 3 + 4 * 2 ?")
    assert code == 0, text
    assert "edited 1 positions (7; the prompt has 8)" in text
    assert "KL to unsteered" in text
    assert "steered:   <think>" in text
    code, text = call(
        *words, "--sweep", "--dose", "0.5", "--dose", "2", "--n", "4", "--n-random", "2",
        "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert code == 0, text
    assert "p_think, to rise" in text
    with (tmp_path / "out" / "doses.csv").open() as file:
        table = list(csv.DictReader(file))
    assert {row["dose"] for row in table} == {"0.0", "0.5", "2.0"}
    assert (tmp_path / "out" / "doses.svg").is_file()
    assert read_rows(tmp_path / "out" / "doses.parquet", DoseRow)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name a file by --vector"),
        (("--sae", "x"), "name one by --latent N"),
        (("--vector", "v.pt"), "can run code when they are read"),
        (("--vector", "none.safetensors"), "there is no file"),
    ],
)
def test_the_command_refuses_before_any_model_is_loaded(words, told):
    code, text = call("steer", "base", *words, "--prompt", "<bos>")
    assert code == 2
    assert told in text


def test_mean_difference_of_a_pair_is_a_difference_of_models(tiny_pair):
    sides = [collect(model, ROWS, [(-1,)] * 3, SITE) for model in (tiny_pair.post, tiny_pair.base)]
    found = mean_difference(*sides)
    expected = sides[0].values.mean(0) - sides[1].values.mean(0)
    assert torch.allclose(found.vector * found.length, expected, atol=1e-5)


def test_what_could_not_be_measured_is_never_chosen_and_gives_no_p(rows):
    nan = float("nan")
    made = [
        replace(row, value={-1.0: nan, 0.0: 0.3, 0.5: 0.6, 2.0: nan}[row.dose])
        if row.metric == "accuracy" and row.direction == "steered"
        else row
        for row in rows
    ]
    assert choose_dose(made, "accuracy", kl_budget=99.0).dose == 0.5
    blind = [
        replace(row, value=nan) if row.metric == "accuracy" and row.dose == 0 else row
        for row in made
    ]
    assert math.isnan(compare(blind, "accuracy", kl_budget=99.0).p)
