"""The page: right numbers, nothing escapes, nothing is fetched, and the viewer steps."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from browser import Page, find_browser
from synthetic import CHANCE, NASTY, example_records, make_chains, make_items, trace_records

from interp.files import write_file
from interp.results.plots import curve, headline
from interp.results.report import Section, Verdict, write_report
from interp.results.report.svg import inline_svg
from interp.results.report.tables import (
    OWN,
    format_cell,
)
from interp.results.report.viewer import MAX_EXAMPLES, embed_json, viewer_data
from interp.results.rows import CONTRAST, Item, Measurement
from interp.results.run_folder import Run, RunData, load_run, write_rows
from interp.results.summaries import summarise

VERDICT = Verdict(
    f"On the pool accuracy rose {NASTY}", ("base -> post: -0.10 [-0.05, 0.20], pre-2023",)
)
SECTIONS = (
    Section(
        "early_answering", "Early answering", "When is the answer decided?",
        ("How to read it.", NASTY), ("early",),
    ),
    Section("corruption", "Corruption", "Does the answer follow the chain?", (), ()),
)  # fmt: skip


class Outline(HTMLParser):
    """Tags, their attributes, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._raw = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._raw = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._raw = "" if tag in ("script", "style") else self._raw

    def handle_data(self, data: str) -> None:
        if not self._raw and data.strip():
            self.words.append(" ".join(data.split()))


def make_run(folder: Path, n: int = 6) -> Path:
    chains = make_chains(n)
    items = make_items(chains)
    rows = summarise(items, pair="arith-base -> arith-swapped", chance=CHANCE, seed=0, n_boot=200)
    run = Run.create(folder, {"models": {}, "settings": {"note": NASTY}})
    for name, lines in (
        ("examples.jsonl", example_records(chains)),
        ("traces.jsonl", trace_records(chains)),
    ):
        write_file(folder / name, "".join(json.dumps(line) + "\n" for line in lines).encode())
    run.save_results(items, rows)
    return folder


def pick(rows, **fields) -> list[Measurement]:
    return [
        row
        for row in rows
        if all(getattr(row, k) == v for k, v in fields.items())
        and CONTRAST not in (row.reader, row.writer)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_run(tmp_path_factory.mktemp("report") / "run")
    rows = load_run(folder).rows
    early = pick(rows, probe="early_answering", metric="same_answer", writer="gold")
    accuracy = pick(rows, probe="accuracy", condition="free", metric="accuracy")
    reliance = pick(rows, probe="corruption", metric="reliant", writer="gold")
    figures = {
        "early": curve(early, ylabel="same"),
        "headline": headline({"free": accuracy}, {"follows": reliance}),
    }
    assert write_report(folder, SECTIONS, VERDICT, figures) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / "report.html").read_text("utf-8")


@pytest.fixture(scope="module")
def outline(text: str) -> Outline:
    return Outline(text)


@pytest.fixture(scope="module")
def rows(folder: Path) -> tuple[Measurement, ...]:
    return load_run(folder).rows


@pytest.fixture(scope="module")
def browser():
    executable = find_browser()
    if executable is None:
        pytest.skip("no Chromium on this machine")
    with Page(executable) as page:
        yield page


def test_everything_is_inside(outline: Outline, text: str) -> None:
    tags = [tag for tag, _ in outline.tags]
    assert not {"img", "iframe", "object", "embed"} & set(tags)
    links = [attrs["href"] for tag, attrs in outline.tags if tag in ("link", "a")]
    assert all(str(link).startswith(("#", "data:")) for link in links)
    assert all("src" not in attrs for tag, attrs in outline.tags if tag == "script")
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    ids = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_what_others_wrote_stays_text(outline: Outline, text: str) -> None:
    assert all("onerror" not in attrs for _, attrs in outline.tags)
    assert "alert(2)" in text and "<script>alert" not in text
    scripts = [attrs for tag, attrs in outline.tags if tag == "script"]
    assert [s.get("id") for s in scripts] == ["viewer-data", None]


def test_sections_figures_and_words(outline: Outline, text: str) -> None:
    for words in ("Early answering", "When is the answer decided?", "How to read it."):
        assert words in outline.words
    assert "base \u2192 post: \u22120.10 [\u22120.05, 0.20], pre-2023" in outline.words
    # Probes without a section are shown too, under their name.
    assert {"accuracy", "information_gain", "path_masks"} <= set(outline.words)
    assert text.count("<svg") == 2 and "var(--base)" in text and "#0072b2" not in text.split(
        "</style>"
    )[1].replace("--base: #0072b2", "")  # fmt: skip


def test_the_first_screen_says_what_the_numbers_are(text: str) -> None:
    screen, foot = text.split("</header>")[0], text.split("<footer")[1]
    assert "mean (median for KL and perplexity) [95\u00a0% interval over problems]" in screen
    for part in (screen, foot):
        assert "over all contrasts of this run" in part and "resampled" not in part


def test_every_row_is_in_the_page(outline: Outline, rows) -> None:
    for row in rows:
        assert format_cell(row).value in outline.words
    counts = [w for w in outline.words if re.fullmatch(r"All \d+ rows", w)]
    assert sum(int(w.split()[1]) for w in counts) == len(rows)


def test_not_measurable_says_why(outline: Outline) -> None:
    assert "not measurable" in outline.words
    assert any("accuracy is at chance (6)" in words for words in outline.words)


def with_coordinates() -> list[Measurement]:
    """A direction of each model, in each model, as two methods; and a curve over the dose."""
    items = [
        Item(
            probe="p", task="t", example=f"e{i}", problem=f"p{i}", condition="steered",
            metric="accuracy", value=float((i + len(source + reader)) % 3), reader=reader,
            writer=reader, source=source, variant=variant, dose=dose,
        )
        for i in range(6)
        for reader in ("base", "post")
        for source in ("base", "post")
        for variant in ("add", NASTY)
        for dose in (None, -0.5, 2.0)
    ]  # fmt: skip
    return summarise(items, pair="a -> b", chance={"t": 0.1}, seed=0, n_boot=50)


def test_names_of_every_kind_reach_the_page_as_text(folder: Path, tmp_path: Path) -> None:
    run = copytree(folder, tmp_path / "run")
    write_rows(run / "measurements.parquet", Measurement, with_coordinates())
    page = Outline(write_report(run, (), VERDICT, {}).read_text("utf-8"))
    assert {"source", "variant", "chains of", "dose", OWN, NASTY} <= set(page.words)
    assert all("onerror" not in attrs for _, attrs in page.tags)
    assert "position" not in page.words and "layer" not in page.words


def test_viewer_data_are_the_items(folder: Path) -> None:
    data = load_run(folder)
    viewer = viewer_data(data)
    assert viewer["readers"] == ["base", "post"]
    chain = next(c for c in viewer["chains"] if c["steps"][0] == NASTY and c["writer"] == "base")
    for reader, name, metric in (
        ("base", "gain", "gain"),
        ("post", "p", "probability"),
        ("base", "mistake_follows", "follows_mistake"),
    ):
        expected = [
            item
            for item in data.items
            if (item.example, item.writer, item.reader, item.metric)
            == (chain["example"], "base", reader, metric)
            and item.step is not None
        ]
        assert len(expected) >= len(chain["steps"])
        for item in expected:
            drawn = chain["readers"][reader][name][item.step]
            assert drawn == pytest.approx(item.value, rel=1e-3)


def test_viewer_keeps_variants_apart(folder: Path) -> None:
    data = load_run(folder)
    item = next(i for i in data.items if i.is_whole and i.metric == "aoc")
    more = (replace(item, variant="one", value=0.25), replace(item, source="post", value=0.75))
    point = replace(item, layer=3, value=0.5)
    viewer = viewer_data(replace(data, items=(*data.items, *more, point)))
    where = {"task": item.task, "example": item.example, "writer": item.writer}
    chain = next(c for c in viewer["chains"] if all(c[k] == v for k, v in where.items()))
    lines = [line for line in chain["whole"] if line["metric"] == "aoc"]
    assert [line["condition"] for line in lines] == ["cut", "cut, one", "cut, post"]
    values = [line["values"][item.reader] for line in lines]
    assert values == [pytest.approx(item.value, rel=1e-3), 0.25, 0.75]


def test_viewer_carries_a_limited_number_of_examples() -> None:
    chains = make_chains(MAX_EXAMPLES + 2)
    examples, traces = example_records(chains), trace_records(chains)
    viewer = viewer_data(RunData(Path(), {}, (), (), tuple(examples), tuple(traces), {}))
    assert viewer["tasks"][0] == {
        "name": "arith/pool", "shown": MAX_EXAMPLES, "all": MAX_EXAMPLES + 2,
    }  # fmt: skip
    assert len(viewer["chains"]) == 2 * 3 * MAX_EXAMPLES


def test_embedded_json_cannot_close_its_element() -> None:
    text = embed_json({"a": "</script><!-- \u2028 &amp;"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!-- \u2028 &amp;"}


def test_inlined_figures_keep_their_ids_apart() -> None:
    svg = '<?xml?><!DOCTYPE svg><svg width="9pt" height="9pt" viewBox="0 0 9 9"><!-- x -->'
    svg += '<path id="a" style="fill: #0072b2"/><use xlink:href="#a" clip-path="url(#c)"/></svg>'
    found = inline_svg(svg, name="one")
    assert found.startswith('<svg viewBox="0 0 9 9" aria-hidden="true"')
    assert 'id="one-a"' in found and 'xlink:href="#one-a"' in found and "url(#one-c)" in found
    assert "var(--base)" in found and "<!--" not in found and "xml" not in found


def test_report_refuses_figures_that_are_not_there(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"not given: \['early'\]"):
        write_report(folder, SECTIONS, VERDICT, {})
    with pytest.raises(ValueError, match=r"badly named: \['<b>'\]"):
        write_report(folder, (), VERDICT, {"<b>": None})


def test_a_run_without_chains_has_no_viewer(folder: Path, tmp_path: Path) -> None:
    bare = copytree(folder, tmp_path / "bare")
    (bare / "traces.jsonl").unlink()
    page = write_report(bare, (), Verdict("One model.", ()), {}).read_text("utf-8")
    assert "viewer-data" not in page and "One model." in page


@pytest.mark.parametrize(("width", "is_dark"), [(1280, False), (390, True)])
def test_browser_fetches_nothing_and_does_not_complain(
    browser: Page, folder: Path, width: int, is_dark: bool
) -> None:
    browser.requests.clear()
    browser.open(folder / "report.html", width=width, height=800, is_dark=is_dark)
    path = (folder / "report.html").resolve().as_uri()
    for _ in range(3):
        browser.press("ArrowRight")
    assert browser.requests == [path]
    assert browser.complaints == []
    assert browser.value("document.documentElement.scrollWidth") <= width
    background = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(21, 24, 27)") is is_dark


def test_viewer_steps_through_a_chain(browser: Page, folder: Path) -> None:
    browser.open(folder / "report.html", width=1280, height=800)
    chains = viewer_data(load_run(folder))["chains"]
    nasty: Any = next(c for c in chains if c["steps"][0] == NASTY and c["writer"] == "gold")

    def shown(selector: str) -> str:
        return browser.value(f"document.querySelector('{selector}').textContent")

    def choose(field: str, index: int) -> None:
        browser.value(
            f"(() => {{ const s = document.getElementById('viewer-{field}'); s.value = '{index}';"
            " s.dispatchEvent(new Event('change')); })()"
        )

    browser.value("document.getElementById('viewer').scrollIntoView()")
    choose("example", 1)
    assert shown(".chain li:nth-child(2) .step-text") == NASTY
    assert shown("#viewer h3") == "Before the first step"
    browser.press("ArrowRight")
    assert shown("#viewer h3") == "Step 1"
    gain = nasty["readers"]["base"]["gain"][0]
    assert f"{gain:+.2f} nats".replace("-", "\u2212") in shown(".panel tbody")
    browser.value("document.getElementById('viewer-next').click()")
    assert shown("#viewer h3") == "Step 2"
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    browser.press("ArrowLeft")
    assert shown("#viewer h3") == "Before the first step"
    choose("writer", 2)
    choose("task", 1)
    assert browser.value("document.getElementById('viewer-example').value") == "0"
    last = chains[-1]["task"]
    assert browser.value("document.getElementById('viewer-task').selectedOptions[0].text") == last
    browser.value("document.querySelector('.chain li:last-child button').click()")
    assert browser.value("document.getElementById('viewer-next').disabled") is True
    assert browser.complaints == []
