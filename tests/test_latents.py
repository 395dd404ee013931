"""Latents: what they say about known variables, and whether words alone wake them."""

import math
from random import Random

import pytest
import torch

from interp.methods.saes import (
    Injection,
    Latents,
    TopToken,
    Variable,
    encode_rows,
    falsify,
    match_latents,
    reason_score,
    score_latents,
    top_tokens,
)
from interp.methods.saes.injection import classify, cohens_d, inject
from interp.organisms.saes.known_variables import arith_variables, chain_variable
from interp.organisms.worlds.arith.problems import WORDS


def test_reason_score_by_hand():
    # Two texts; words 7 and 8 are two groups of reasoning words; window: the word itself.
    tokens = torch.tensor([1, 7, 8, 5, 1, 5, 7, 5])
    rows = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    acts = torch.zeros(8, 3)
    acts[tokens == 7, 0] = 2.0  # one word only
    acts[tokens == 7, 1] = 2.0
    acts[tokens == 8, 1] = 2.0  # both words alike
    acts[tokens == 5, 2] = 3.0  # elsewhere
    found = reason_score(Latents(acts, tokens, rows), [{7}, {8}], ignored={1}, window=(0, 0))
    # m+ over the three words: 4/3, 2, 0; H = 0, 1; m- over the three fives: 0, 0, 3.
    assert found.tolist() == pytest.approx([0.0, 2 / (4 / 3 + 2), -1.0])
    one = reason_score(Latents(acts, tokens, rows), [{7}], ignored={1}, window=(0, 0))
    assert float(one[0]) == pytest.approx(2 / 4), "with one group nothing is divided by entropy"


def test_windows_stay_in_their_text():
    tokens, rows = torch.tensor([5, 5, 7, 5, 5, 5]), torch.tensor([0, 0, 0, 1, 1, 1])
    acts = torch.tensor([[0.0], [1.0], [1.0], [4.0], [0.0], [0.0]])
    found = reason_score(Latents(acts, tokens, rows), [{7}], window=(-1, 2))
    assert float(found[0]) == pytest.approx(0.0), "both shares are 1"
    with pytest.raises(ValueError, match="none of the 1 groups"):
        reason_score(Latents(acts, tokens, rows), [{9}])


def test_scores_agree_with_their_definitions():
    generator = torch.Generator().manual_seed(0)
    acts = torch.randn(80, 5, generator=generator).relu()
    acts[:, 4] = 0
    holds = torch.rand(80, generator=generator) < 0.3
    found = score_latents(acts, holds)
    for latent in range(5):
        says, truth = (acts[:, latent] > 0).tolist(), holds.tolist()
        both = sum(a and b for a, b in zip(says, truth, strict=True))
        if any(says):
            assert float(found.precision[latent]) == pytest.approx(both / sum(says))
        assert float(found.recall[latent]) == pytest.approx(both / sum(truth))
        true, false = acts[holds, latent].tolist(), acts[~holds, latent].tolist()
        wins = sum((a > b) + (a == b) / 2 for a in true for b in false)
        assert float(found.auroc[latent]) == pytest.approx(wins / len(true) / len(false))
    assert math.isnan(float(found.precision[4])) and float(found.f1[4]) == 0
    assert float(found.auroc[4]) == 0.5


def test_the_best_latent_is_scored_where_it_was_not_chosen():
    generator = torch.Generator().manual_seed(1)
    holds = torch.rand(400, generator=generator) < 0.5
    chooses = torch.arange(400) < 40
    acts = (torch.rand(400, 300, generator=generator) < 0.5).float()
    domain = torch.ones(400, dtype=torch.bool)
    (noise,) = match_latents(acts, [Variable("v", holds, domain)], chooses)
    assert abs(noise.auroc - 0.5) < 0.1, "the best of 300 by luck falls back"
    on_its_own = score_latents(acts[chooses], holds[chooses])
    assert float(on_its_own.auroc[noise.latent]) > 0.65, "on the side that chose it looked better"
    acts[:, 17] = holds.float()
    (true,) = match_latents(acts, [Variable("v", holds, domain)], chooses)
    assert (true.latent, true.precision, true.recall, true.auroc) == (17, 1, 1, 1)
    with pytest.raises(ValueError, match="not both true and false"):
        match_latents(acts, [Variable("v", domain, domain)], chooses)


def test_a_variable_that_is_split_among_latents_is_found_by_their_group():
    """One latent has two thirds of the truth, one the rest, and noise is often wrong."""
    generator = torch.Generator().manual_seed(3)
    holds = torch.arange(400) % 2 == 0
    acts = (torch.rand(400, 20, generator=generator) < 0.5).float()
    acts[:, 4], acts[:, 9] = (
        (holds & (torch.arange(400) % 6 != 0)).float(),
        (holds & (torch.arange(400) % 6 == 0)).float(),
    )
    domain = torch.ones(400, dtype=torch.bool)
    (found,) = match_latents(acts, [Variable("v", holds, domain)], torch.arange(400) < 200)
    assert (found.latent, found.group) == (4, (4, 9))
    assert found.precision == 1 and found.recall == pytest.approx(2 / 3, abs=0.01)
    assert (found.group_precision, found.group_recall) == (1, 1)
    acts[:, 4] = holds.float()
    (whole,) = match_latents(acts, [Variable("v", holds, domain)], torch.arange(400) < 200)
    assert whole.group == (4,) and whole.group_recall == whole.recall == 1


def test_variables_of_a_chain_by_hand():
    text = "<bos> Q 3 + 4 * 2 ? <think> 3 + 4 = 7 ; 7 times 2 is 3 ; </think> A 3 <eos>"
    rows = [WORDS.encode(text), WORDS.encode("<bos> Q 3 + 4 ? A 7 <eos>")]
    inside = chain_variable(rows, WORDS.ids)
    words = text.split()
    start, end = words.index("<think>"), words.index("</think>")
    assert inside is not None
    assert inside.holds.nonzero()[:, 0].tolist() == list(range(start, end))
    assert int(inside.domain.sum()) == len(rows[0]) + len(rows[1]) - 2
    found = {variable.name: variable for variable in arith_variables(rows, WORDS.ids)}
    assert len(found) == 11 + 11 + 3

    def where(name):
        return [at - start - 1 for at in found[name].holds.nonzero()[:, 0].tolist()]

    assert where("running value 7") == [3, 5] and where("running value 3") == [9]
    assert int(found["running value 7"].domain.sum()) == 3
    assert where("result 7 at =") == [3] and where("result 3 at =") == [9]
    assert where("operator +") == [1, 2, 3] and where("operator *") == [7, 8, 9]
    assert int(found["operator -"].domain.sum()) == 6 and where("operator -") == []


# A reader without a model: latent 0 is active on the token "=", latent 1 where the sum so far is 7
# modulo 11, whatever the token, latent 2 never. The first token says where the sum starts.
N_NUMBERS, EQUALS, ASK = 44, 90, 91
STARTS = range(100, 111)


def symbolic(rows):
    found = []
    for row in rows:
        acts = torch.zeros(len(row), 3)
        total = row[0]
        for at, token in enumerate(row):
            total += token if token < N_NUMBERS else 0
            acts[at, 0] = float(token == EQUALS)
            acts[at, 1] = float(total % 11 == 7 and at > 0)
        found.append(acts)
    return found


def make_texts(n, *, chains):
    rng = Random(f"texts {chains}")
    rows = []
    for _ in range(n):
        numbers = [rng.randrange(N_NUMBERS) for _ in range(4)]
        rows.append(
            [rng.choice(STARTS), *numbers, ASK] + ([EQUALS, rng.randrange(N_NUMBERS)] * 3) * chains
        )
    return rows


def test_injection_flags_the_cue_and_not_what_is_computed():
    settings = Injection()
    at_home = encode_rows(symbolic, make_texts(600, chains=True))
    tokens = {latent: top_tokens(at_home, latent, settings, STARTS) for latent in range(3)}
    assert [one.token for one in tokens[0]] == [EQUALS] and tokens[2] == ()
    cue, computed, dead = falsify(symbolic, tokens, make_texts(600, chains=False), settings)
    assert cue.kind == "token-driven" and cue.d == math.inf and cue.p < 1e-6
    assert cue.d_alike == 0, "other words do not wake it"
    assert computed.d_alike > 0.2, "any number changes the sum: without a control it is flagged"
    assert computed.kind == "context-dependent" and computed.d < 0.2, computed
    assert dead.kind == "untested" and math.isnan(dead.d)
    again = falsify(symbolic, tokens, make_texts(600, chains=False), settings)
    assert again[1] == computed


def test_what_words_wake_by_absence_is_not_driven_by_them():
    """Latent 0 is active unless a foreign word follows: others silence it, its own leave it be."""

    def silenced(rows):
        quiet = [any(token > 50 for token in row) for row in rows]
        return [torch.full((len(row), 1), float(not q)) for row, q in zip(rows, quiet, strict=True)]

    own = TopToken(3, (60, 61))
    (found,) = falsify(silenced, {0: (own,)}, [[1, 2, 4]] * 20, Injection())
    assert found.d == 0 and found.d_alike == -math.inf and found.kind == "context-dependent"


@pytest.mark.parametrize("n_words", [5, 40])
def test_a_latent_of_many_words_is_not_compared_with_its_own(n_words):
    """A pure detector of equally frequent words, most of them beyond the top tokens."""

    def detector(rows):
        return [torch.tensor([[float(token < n_words)] for token in row]) for row in rows]

    rng = Random("a detector of many words")
    clean = [[99, *(rng.randrange(n_words, 80) for _ in range(8))] for _ in range(100)]
    both = [[99, *(rng.randrange(80) for _ in range(8))] for _ in range(400)]
    top = top_tokens(encode_rows(detector, both), 0, Injection(), [99])
    assert len(top) == min(n_words, 10)
    assert min(token for one in top for token in one.alike) >= n_words
    (found,) = falsify(detector, {0: top}, clean, Injection())
    assert (found.kind, found.d, found.d_alike) == ("token-driven", math.inf, 0)


def test_without_words_to_compare_with_a_latent_is_untested():
    """All words but two wake it, and three are put into a text."""

    def detector(rows):
        return [torch.tensor([[float(token > 2)] for token in row]) for row in rows]

    rows = [list(range(30))] * 20
    at_home = encode_rows(detector, rows)
    (found,) = falsify(detector, {0: top_tokens(at_home, 0, Injection(), [0])}, rows, Injection())
    assert found.kind == "untested" and math.isnan(found.d) and len(found.tokens) == 10
    enough = Injection(n_inserted=2)
    top = top_tokens(at_home, 0, enough, [0])
    assert {token for one in top for token in one.alike} == {1, 2}


def test_controls_have_nearly_the_frequency_of_their_token():
    counts = {1: 400, 2: 200, 3: 190, 4: 8, 5: 7, 6: 2, 7: 30, 8: 6}
    tokens = torch.tensor([token for token, n in counts.items() for _ in range(n)])
    acts = torch.isin(tokens, torch.tensor([2, 4])).float()[:, None]
    latents = Latents(acts, tokens, torch.zeros_like(tokens))
    found = {one.token: one.alike for one in top_tokens(latents, 0, Injection(), {1})}
    assert found == {2: (3, 7, 5, 8), 4: (5, 8, 7, 3)}, "6 is too rare, 1 special, top tokens none"


def test_ways_of_injection():
    row, rng = [99, 1, 2, 3, 4], Random(0)
    assert inject(row, [7, 8], "first", rng) == [99, 7, 8, 1, 2, 3, 4]
    assert inject(row, [7, 8], "last", rng) == [99, 1, 2, 3, 4, 7, 8]
    for way, n in (("spread", 7), ("replace", 5)):
        found = inject(row, [7, 8], way, rng)
        assert len(found) == n and found[0] == 99 and {7, 8} <= set(found)
        kept = [token for token in found[1:] if token not in (7, 8)]
        assert kept == [token for token in row[1:] if token in kept]
    assert row == [99, 1, 2, 3, 4]


def test_effect_sizes_and_classes():
    after, before = torch.tensor([2.0, 4.0, 6.0]), torch.tensor([1.0, 2.0, 3.0])
    assert cohens_d(after, before) == pytest.approx(2 / math.sqrt((4 + 1) / 2))
    same = torch.ones(5)
    assert cohens_d(same, same) == 0 and cohens_d(same, 0 * same) == math.inf
    assert classify(0.8, 0.001) == "token-driven" and classify(0.8, 0.02) != "token-driven"
    assert classify(0.6, 0.02) == "partially token-driven"
    assert classify(0.3, 0.02) == "weakly token-driven"
    assert classify(0.3, 0.2) == classify(-2.0, 0.001) == "context-dependent"
    with pytest.raises(ValueError, match="at least 10 texts"):
        tokens = {0: (TopToken(EQUALS, (1,)),)}
        falsify(symbolic, tokens, make_texts(3, chains=False), Injection())


def test_auroc_counts_won_pairs_and_halves_ties():
    generator = torch.Generator().manual_seed(2)
    acts = torch.randn(60, 1, generator=generator).relu()
    holds = torch.rand(60, generator=generator) < 0.5
    true, false = acts[holds, 0], acts[~holds, 0]
    won = (true[:, None] > false).double() + (true[:, None] == false).double() / 2
    expected = float(won.mean())
    assert float(score_latents(acts, holds).auroc[0]) == pytest.approx(expected)
