// The page: a panel per rule, filled with the words that the server made; rates as lines over time.

import { el, put, svg } from "./dom.js";
import { Stream } from "./stream.js";
import { themes } from "./theme.js";

const KEPT = 60; // frames
const WIDTH = 120;
const HEIGHT = 20;
const TEXT = ["backend", "address", "state", "check", "score"];
const $ = (id) => document.getElementById(id);
const [mode, problem, rules, veil] = ["mode", "problem", "rules", "veil"].map($);

class Spark {
  constructor() {
    this.rates = [];
    this.line = svg("polyline");
    this.root = svg("svg", { class: "spark", viewBox: `0 -1 ${WIDTH} ${HEIGHT + 2}`, "aria-hidden": "true" }, this.line);
  }

  add(rate) {
    if (rate === null) return;
    this.rates = [...this.rates, rate].slice(-KEPT);
    const top = Math.max(1, ...this.rates);
    const points = this.rates.map((each, place) =>
      `${(place * WIDTH) / (KEPT - 1)},${(HEIGHT * (1 - each / top)).toFixed(1)}`);
    this.line.setAttribute("points", points.join(" "));
  }
}

class Rule {
  constructor(key) {
    this.key = key;
    this.title = el("h2");
    this.facts = el("div");
    this.notes = el("ul", { class: "down" });
    this.table = el("div", { class: "scroll", tabindex: "0" });
    this.root = el("section", { class: "panel", "data-rule": key }, this.title, this.facts, this.table, this.notes);
    this.sparks = new Map();
    this.columns = [];
    this.ids = [];
  }

  show({ title, facts, rows, notes }) {
    put(this.title, title);
    lines(this.facts, "p", facts);
    lines(this.notes, "li", notes);
    const columns = Object.keys(rows[0]?.cells ?? {}).filter((name) => rows.some((row) => row.cells[name]));
    const ids = rows.map((row) => row.id);
    if (!same(columns, this.columns) || !same(ids, this.ids)) this.build(columns, ids);
    rows.forEach((row, place) => {
      const { line, cells, spark } = this.lines[place];
      line.className = row.troubled ? "troubled" : "";
      columns.forEach((name, number) => put(cells[number], row.cells[name]));
      spark.add(row.rate);
    });
  }

  build(columns, ids) {
    Object.assign(this, { columns, ids });
    const kind = (name) => (TEXT.includes(name) ? "text" : "");
    const beside = columns.indexOf("new/s") + 1;
    const head = columns.map((name) => el("th", { scope: "col", class: kind(name) }, name));
    head.splice(beside, 0, el("th", { scope: "col" }, "over time"));
    this.sparks = new Map(ids.map((id) => [id, this.sparks.get(id) ?? new Spark()]));
    this.lines = ids.map((id) => {
      const spark = this.sparks.get(id);
      const cells = columns.map((name) => el("td", { class: kind(name), "data-column": name }));
      const line = el("tr", { "data-backend": id }, ...cells);
      line.insertBefore(el("td", {}, spark.root), line.children[beside] ?? null);
      return { line, cells, spark };
    });
    const body = this.lines.map(({ line }) => line);
    this.table.replaceChildren(
      el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...body)));
  }
}

const same = (some, others) => some.length === others.length && some.every((each, n) => each === others[n]);

function lines(parent, tag, texts) {
  while (parent.childElementCount > texts.length) parent.lastChild.remove();
  while (parent.childElementCount < texts.length) parent.append(el(tag));
  texts.forEach((text, place) => put(parent.children[place], text));
}

let shown = [];

function show(picture) {
  lines($("process"), "span", picture.facts);
  const keys = picture.rules.map((rule) => rule.key);
  if (!same(keys, shown.map((rule) => rule.key))) {
    shown = keys.map((key) => new Rule(key));
    rules.replaceChildren(...shown.map((rule) => rule.root));
  }
  picture.rules.forEach((rule, place) => shown[place].show(rule));
}

themes($("theme"));

new Stream(
  (message) => {
    if (message.picture) show(message.picture);
    put(mode, message.problem ? "NO ANSWER" : "LIVE");
    problem.hidden = !message.problem;
    const age = shown.length ? `; last frame ${message.age_s.toFixed(0)} s ago` : "";
    put(problem, message.problem + age);
    rules.classList.toggle("old", Boolean(message.problem));
  },
  (silent_s) => {
    veil.hidden = silent_s === null;
    if (silent_s !== null) {
      put($("veil-text"), `Connection lost; last message ${silent_s.toFixed(0)} s ago. Trying again.`);
    }
  },
);
