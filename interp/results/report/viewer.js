"use strict";
// Steps through one chain. All text from models enters the page through textContent only.
(() => {
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const root = document.getElementById("viewer-root");
  const state = { task: 0, writer: 0, example: 0, step: 0 };

  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children.filter((child) => child !== null));
    return element;
  };
  const distinct = (values) => [...new Set(values)];
  const minus = (text) => text.replace("-", "\u2212");
  const known = (value) => value !== null && value !== undefined;
  const fixed = (value) => minus(value.toFixed(2).replace(/^-(?=0\.00$)/, ""));
  const signed = (value) => (value >= 0.005 ? "+" : "") + fixed(value);
  const colour = (reader) =>
    reader === "base" || reader === "post" ? `of-${reader}` : "of-other";
  const named = (reader) => [make("span", `dot ${colour(reader)}`), reader];

  const taskNames = data.tasks.map((task) => task.name);
  const chainsOf = (task) => data.chains.filter((chain) => chain.task === task);
  const writersOf = (task) => distinct(chainsOf(task).map((chain) => chain.writer));
  const examplesOf = (task) => distinct(chainsOf(task).map((chain) => chain.example));

  function current() {
    const task = taskNames[state.task];
    const writer = writersOf(task)[state.writer];
    const example = examplesOf(task)[state.example];
    return chainsOf(task).find(
      (chain) => chain.writer === writer && chain.example === example
    );
  }

  // Controls -----------------------------------------------------------------
  function choice(label, options, field) {
    const select = make("select");
    options.forEach((text, index) => {
      const option = make("option", "", text);
      option.value = String(index);
      select.append(option);
    });
    select.value = String(state[field]);
    select.id = `viewer-${field}`;
    // After a choice by pointer the arrow keys step; after one by keyboard they go on choosing.
    let isByKeyboard = false;
    select.addEventListener("keydown", () => { isByKeyboard = true; });
    select.addEventListener("pointerdown", () => { isByKeyboard = false; });
    select.addEventListener("change", () => {
      state[field] = Number(select.value);
      if (field === "task") state.example = 0;
      state.writer = Math.min(state.writer, writersOf(taskNames[state.task]).length - 1);
      state.step = 0;
      draw();
      const next = document.getElementById("viewer-next");
      (isByKeyboard || !next ? document.getElementById(select.id) : next).focus();
    });
    return make("label", "", label, select);
  }

  function controls() {
    const task = taskNames[state.task];
    const { shown, all } = data.tasks[state.task];
    const count = shown < all ? `Example (${shown} of ${all} are here)` : "Example";
    const questions = examplesOf(task).map((id) => {
      const chain = chainsOf(task).find((one) => one.example === id);
      const text = (chain.question || id).replace(/\s+/g, " ").trim();
      return text.length > 60 ? `${text.slice(0, 59)}\u2026` : text;
    });
    return make(
      "div", "controls",
      choice("Task", taskNames, "task"),
      choice("Chain written by", writersOf(task), "writer"),
      choice(count, questions, "example")
    );
  }

  function asked(chain) {
    const list = make("dl", "asked");
    const add = (name, text) => {
      if (text !== "") list.append(make("dt", "", name), make("dd", "", text));
    };
    add("Question", chain.question);
    add("Right answer", chain.right);
    add("This chain\u2019s answer", chain.answer + (chain.correct ? "" : " (wrong)"));
    return list;
  }

  // The chain ------------------------------------------------------------------
  function bars(chain, k) {
    const box = make("span", "bars");
    data.readers.forEach((reader) => {
      const p = chain.readers[reader]?.p?.[k];
      if (!known(p)) return;
      const fill = make("b", colour(reader));
      fill.style.width = `${(100 * p).toFixed(1)}%`;
      const bar = make("i", "", fill);
      bar.title = `${reader}: p = ${p.toFixed(2)}`;
      box.append(bar);
    });
    return box;
  }

  function chainList(chain) {
    const list = make("ol", "chain");
    for (let k = 0; k <= chain.steps.length; k++) {
      const text = k === 0
        ? make("span", "step-text none", "before the first step")
        : make("span", "step-text", chain.steps[k - 1].trim());
      const button = make("button", "", make("span", "nr", String(k)), text, bars(chain, k));
      button.type = "button";
      button.addEventListener("click", () => go(k));
      const position = k === state.step ? "now" : k > state.step ? "later" : "";
      const row = make("li", position, button);
      if (k === state.step) button.setAttribute("aria-current", "step");
      list.append(row);
    }
    return list;
  }

  // What the current step did --------------------------------------------------
  function gainCell(series, k) {
    const logprob = series.logprob?.[k];
    const total = known(logprob) ? fixed(logprob) : "";
    if (k === 0) return total ? [total, make("small", "", "log p of the right answer")] : [""];
    const gain = series.gain?.[k - 1];
    return [
      known(gain) ? `${signed(gain)} nats` : "not measurable",
      total ? make("small", "", `log p of the right answer now ${total}`) : null,
    ];
  }

  function earlyCell(series, k) {
    const same = series.same?.[k];
    const p = series.p?.[k];
    const words = !known(same) ? "not measurable" : same ? "same as in the end" : "another answer";
    const small = known(p) ? make("small", "", `p of the final answer ${p.toFixed(2)}`) : null;
    return [words, small];
  }

  function corruptCell(series, k) {
    const same = series.mistake_same?.[k - 1];
    const follows = series.mistake_follows?.[k - 1];
    if (!known(same)) return ["not measurable"];
    if (same) return ["answer stays"];
    if (follows) return ["answer follows the wrong value"];
    return [known(follows) ? "answer changes, not to the wrong value" : "answer changes"];
  }

  function panel(chain) {
    const k = state.step;
    const back = make("button", "", "\u2190 Back");
    const next = make("button", "", "Next step \u2192");
    back.type = next.type = "button";
    back.id = "viewer-back";
    next.id = "viewer-next";
    back.disabled = k === 0;
    next.disabled = k === chain.steps.length;
    back.addEventListener("click", () => go(k - 1, back.id));
    next.addEventListener("click", () => go(k + 1, next.id));
    const place = make("span", "", `${k} of ${chain.steps.length}`);
    const title = k === 0 ? "Before the first step" : `Step ${k}`;
    const body = make("tbody");
    const line = (name, cell) => {
      const cells = data.readers.map((reader) =>
        make("td", "", ...cell(chain.readers[reader] || {}, k))
      );
      const head = make("th", "", name);
      head.scope = "row";
      body.append(make("tr", "", head, ...cells));
    };
    const has = (name) => data.readers.some((reader) => chain.readers[reader]?.[name]);
    if (has("logprob") || has("gain")) line(k ? "Information gained" : "Information so far", gainCell);
    if (has("same")) line(k ? "If the chain ended here" : "With an empty chain", earlyCell);
    if (k > 0 && has("mistake_same")) line("If this step were wrong", corruptCell);
    const heads = data.readers.map((reader) => make("th", "", ...named(reader)));
    const table = make("table", "", make("thead", "", make("tr", "", make("th"), ...heads)), body);
    const box = make("div", "panel", make("div", "move", back, place, next),
      make("h3", "", title), k ? make("p", "step-text", chain.steps[k - 1].trim()) : null, table);
    box.setAttribute("aria-live", "polite");
    return box;
  }

  function whole(chain) {
    if (!chain.whole.length) return null;
    const body = make("tbody");
    chain.whole.forEach((line) => {
      const cells = data.readers.map((reader) => {
        const value = line.values[reader];
        const cell = make("td", "num");
        cell.append(!known(value) ? "" : typeof value === "string"
          ? `not measurable: ${value}` : minus(String(Number(value.toFixed(3)))));
        return cell;
      });
      body.append(make("tr", "", make("td", "", line.probe), make("td", "", line.condition),
        make("td", "", line.metric), ...cells));
    });
    const heads = ["probe", "condition", "measure"].map((text) => make("th", "", text));
    const readers = data.readers.map((reader) => make("th", "num", reader));
    const table = make("table", "", make("thead", "", make("tr", "", ...heads, ...readers)), body);
    return make("details", "", make("summary", "", "Everything measured on this whole chain"),
      make("div", "scroll", table));
  }

  // ------------------------------------------------------------------------------
  function go(step, focusId) {
    const chain = current();
    state.step = Math.max(0, Math.min(step, chain.steps.length));
    draw();
    if (focusId) document.getElementById(focusId).focus();
    // On narrow screens the panel stands above the chain and must stay in view.
    if (window.matchMedia("(min-width: 60.01rem)").matches) {
      root.querySelector(".now")?.scrollIntoView({ block: "nearest" });
    }
  }

  function draw() {
    const open = root.querySelector("details")?.open;
    const chain = current();
    root.replaceChildren(controls());
    if (!chain) {
      root.append(make("p", "how", "This writer has no chain for this example."));
      return;
    }
    root.append(asked(chain));
    if (!chain.steps.length) {
      root.append(make("p", "how", `There is no chain to step through (${chain.status}).`));
      return;
    }
    const keys = make("span", "keys", make("kbd", "", "\u2190"), " ", make("kbd", "", "\u2192"),
      " step through the chain.");
    const hint = make("p", "hint",
      "Bars: probability of the answer that the full chain leads to. ", keys);
    root.append(make("div", "stepper", make("div", "", chainList(chain), hint), panel(chain)));
    const rest = whole(chain);
    if (rest) {
      rest.open = Boolean(open);
      root.append(rest);
    }
  }

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    if (event.target.closest?.("select, input, textarea, .scroll")) return;
    const { top, bottom } = root.getBoundingClientRect();
    if (bottom < 0 || top > window.innerHeight || !current()) return;
    event.preventDefault();
    go(state.step + (event.key === "ArrowRight" ? 1 : -1));
  });

  draw();
})();
