"""`posthoc check`: tokens, lengths, what fits and costs, against counts made here."""

import json

from typer.testing import CliRunner

from interp.models.outline import count_weights, load_outline
from interp.tasks import make_task
from probes.cli import app
from probes.preview.costs import count_work


def call(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output + result.stderr


def test_a_preview_of_an_organism_task(tiny_folder, tiny):
    code, text = call("check", "arith/fresh", str(tiny_folder), "--n", "4")
    assert code == 0, text
    task = make_task("arith/fresh", n=4, seed=0)
    assert f"    {'|'.join(task.examples[0].question.split())}\n" in text
    chains = [sum(len(step.split()) for step in e.steps) for e in task.examples]
    assert f"gold chains: {min(chains)} to {max(chains)} (median" in text
    assert "read back, written alone: 4 of 4" in text and "fit for 4 of 4 questions" in text
    n_weights = sum(weight.numel() for weight in tiny.hf.parameters())
    assert count_weights(load_outline(tiny_folder)) == n_weights
    assert "estimated" in text and "corruption" in text


def test_answers_that_do_not_read_back_and_texts_that_do_not_fit(tiny_folder, tmp_path):
    rows = [{"question": "a " * 300, "answer": "x"}, {"question": "b", "answer": "y; z"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, text = call("check", str(tmp_path / "t.jsonl"), str(tiny_folder), "--n", "2")
    assert code == 2 or "fit for 0 of 2 questions" in text
    code, text = call("check", str(tmp_path / "t.jsonl"), "no-such-model", "--n", "2")
    assert code == 2 and "No model is called" in text


def test_tokens_are_counted_as_the_probes_read_them(tiny_folder):
    task = make_task("arith/fresh", n=3, seed=0)
    outline = load_outline(tiny_folder)
    one = count_work(task, {"base": outline}, ["gold"])
    two = count_work(task, {"base": outline, "post": outline}, ["gold"])
    for name in ("corruption", "early_answering", "information_gain"):
        assert two[name].n_read == 2 * one[name].n_read > 0
        assert 0 < one[name].n_scored <= one[name].n_read
