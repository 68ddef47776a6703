// Everything about one run: built once from its scene, then shown frame by frame.

import { Lines, MOST_LINES, QueueMap, decades, legend } from "./charts.js";
import { el, panel, put } from "./dom.js";
import { Faults } from "./faults.js";
import { fixed, percent, reading, seconds, whole } from "./numbers.js";
import { Topology } from "./topology.js";

const PERCENTILES = ["p50", "p95", "p99"];
const COLUMNS = [
  ["backend", (each) => each.name],
  ["state", (each) => `${each.up ? (each.state === "up" ? "●" : "!") : "✕"} ${each.state}`],
  ["since", (each) => seconds(each.since_s)],
  ["weight", (each, scene) => String(scene.weights[each.name])],
  ["share", (each) => percent(each.share)],
  ["open", (each) => whole(each.open)],
  ["queue", (each) => whole(each.queue)],
  ["answered/s", (each) => fixed(each.rps, 0)],
  ["p50", (each) => reading(each.p50)],
  ["p99", (each) => reading(each.p99)],
  ["failed", (each) => String(each.failed)],
];
const FAIRNESS = ["Jain's index", "one in a thousand random assignments is below (grey: chance)"];
const HIDDEN = ""; // the upper edge of the band
const TOTALS = [
  ["requests", (found) => String(found.requests)],
  ["unanswered", (found) => String(found.unanswered)],
  ["answered per s", (found) => fixed(found.completed_rps, 1)],
  ...PERCENTILES.map((name) => [name, (found) => reading(found[name])]),
  ["Jain, at the end", (found) => fixed(found.fairness.jain, 4)],
];

export class RunView {
  constructor(scene, end_s, parent) {
    this.scene = scene;
    this.points = [];
    this.names = Object.keys(scene.weights);
    const axis = { end_s, warmup_s: scene.warmup_s };
    this.topology = new Topology(scene);
    this.faults = scene.live ? new Faults(scene) : null;
    this.queues = new QueueMap(this.names, end_s);
    this.latency = new Lines({
      ...axis, names: PERCENTILES, height: 230, named: true, y: { label: "ms, log scale", log: true },
    });
    this.lines = this.names.length <= MOST_LINES ? this.names : ["least", "median", "most"];
    this.rates = new Lines({
      ...axis, names: this.lines, height: 180, step: true,
      y: { label: "answered per s" },
    });
    this.evenness = new Lines({
      ...axis, names: [...FAIRNESS, HIDDEN], height: 150, band: [3, 2],
      y: { label: "Jain's index" },
    });
    this.build(parent);
  }

  build(parent) {
    const { scene } = this;
    this.topology.root.addEventListener("click", ({ target }) =>
      this.faults?.choose(target.closest("[data-host]")?.dataset.host));
    this.problem = el("p", { class: "down", hidden: "" });
    this.said = el("p", { class: "soft", "data-name": "fairness" });
    this.flight = el("p", { class: "soft", "data-name": "latency" });
    this.happened = el("ul", { "data-name": "events" });
    parent.append(
      el("section", { class: "run", "data-run": scene.run_id },
        el("header", {}, el("h2", {}, scene.algorithm), el("p", { class: "soft" }, described(scene)),
          this.problem),
        el("div", { class: "panels" },
          ...(this.faults ? [this.faults.root] : []),
          panel("Network: asked, and as measured", this.topology.root),
          panel("Latency at the clients, last 5 s", legend(PERCENTILES), this.latency.root, this.flight),
          this.table(),
          el("div", { class: "stack" },
            panel("Answers per second of each backend", legend(this.lines), this.rates.root),
            panel("Fairness over the backends in service, beside chance", legend(FAIRNESS),
              this.evenness.root, this.said)),
          el("div", { class: "stack" },
            panel("Waiting at each backend", this.queues.root),
            this.totals(),
            panel("What happened", this.happened)),
          this.truth(),
        )),
    );
  }

  table() {
    const head = el("tr", {}, ...COLUMNS.map(([name]) => el("th", { scope: "col" }, name)));
    this.cells = this.names.map(() => COLUMNS.map(() => el("td")));
    const rows = this.cells.map((cells, number) =>
      el("tr", { "data-backend": this.names[number] }, ...cells));
    const table = el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
    const shown = panel("Backends, last 5 s", el("div", { class: "scroll", tabindex: "0" }, table));
    shown.classList.add("wide");
    return shown;
  }

  totals() {
    this.found = TOTALS.map(([name]) => el("dd", { "data-total": name }));
    const pairs = TOTALS.map(([name], number) =>
      el("div", {}, el("dt", {}, name), this.found[number]));
    const note = `The measured interval: from ${seconds(this.scene.warmup_s)} to ${seconds(this.scene.duration_s)}, as far as it has come`;
    return panel("So far", el("dl", { class: "totals" }, ...pairs), el("p", { class: "soft" }, note));
  }

  truth() {
    const { scene } = this;
    const word = { true: "✓ valid", false: "✕ NOT VALID", null: "not judged" }[scene.valid];
    const item = (each) => el("li", {},
      el("span", { class: each.ok ? "fine" : "down" }, each.ok ? "✓" : "✕"),
      el("span", {}, each.name), el("span", { class: "soft" }, each.detail));
    if (scene.live) {
      const later = "Judged when it has ended; as no evidence, whatever was done.";
      const shown = panel("Is it true?", el("p", {}, later));
      shown.classList.add("wide");
      return shown;
    }
    const shown = panel("Is it true? The checks of this recorded run",
      el("p", { class: scene.valid ? "fine" : "down", "data-name": "verdict" }, word),
      el("p", {}, scene.statement), el("ul", { class: "checks" }, ...scene.checks.map(item)));
    shown.classList.add("wide");
    return shown;
  }

  show({ fresh, points, frame, problem }) {
    if (fresh) this.points = [];
    this.points.push(...points);
    this.problem.hidden = !problem;
    put(this.problem, problem);
    if (frame === null) return;
    this.frame = frame;
    this.numbers(frame);
    this.topology.show(frame.backends);
    this.faults?.show(frame);
  }

  key(pressed) {
    return this.faults?.key(pressed) ?? false;
  }

  // Runs beside each other have the same axes: these are what this one's must hold.
  limits() {
    const all = (pick) => this.points.flatMap(pick).filter((value) => value !== null);
    return {
      fastest: Math.min(100, ...all((point) => point.p50)),
      slowest: Math.max(100, ...all((point) => point.p99)),
      rate: Math.max(10, ...all((point) => point.rps)),
      queue: Math.max(10, ...all((point) => point.queue)),
      jain: Math.min(0.98, ...all((point) => [point.jain, point.low])),
    };
  }

  numbers(frame) {
    frame.backends.forEach((each, row) => {
      COLUMNS.forEach(([, told], place) => put(this.cells[row][place], told(each, this.scene)));
      this.cells[row][1].className = each.up ? "" : "down";
    });
    TOTALS.forEach(([, told], place) => put(this.found[place], told(frame.totals)));
    const { latency, fairness } = frame;
    put(this.flight, `${latency.unanswered} of ${latency.requests} unanswered in the last 5 s ` +
      `(red strokes above: when), ${frame.in_flight} under way`);
    put(this.said, fairness.jain === null
      ? "too few requests since the last fault"
      : `Jain ${fixed(fairness.jain, 4)} since the last fault, at most 5 s; one in a thousand ` +
        `random assignments is below ${fixed(fairness.low, 4)}: ${fairness.evenness}`);
    const events = frame.events.map(({ t_s, label }) => `${seconds(t_s)} ${label}`);
    if (this.happened.childElementCount !== events.length) {
      this.happened.replaceChildren(...events.map((text) => el("li", {}, text)));
    }
  }

  draw({ fastest, slowest, rate, queue, jain }) {
    const { points, frame } = this;
    if (!frame) return;
    const { events } = frame;
    const column = (pick) => points.map(pick);
    const t = column((point) => point.t);
    const lost = points.filter((point, place) => point.lost > (points[place - 1]?.lost ?? 0));
    const percentiles = PERCENTILES.map((name) => column((point) => point[name]));
    const unanswered = lost.map((point) => point.t);
    this.latency.show([t, ...percentiles], decades(fastest, slowest), events, unanswered);
    this.rates.show([t, ...this.rows(points)], [0, rate * 1.05], events);
    const top = column((point) => (point.low === null ? null : 1));
    const evenness = [column((point) => point.jain), column((point) => point.low), top];
    this.evenness.show([t, ...evenness], [jain - 0.01, 1.005], events);
    this.queues.show(points, queue, frame);
  }

  rows(points) {
    if (this.lines === this.names) {
      return this.names.map((_, number) => points.map((point) => point.rps[number]));
    }
    const sorted = points.map((point) => point.rps.toSorted((a, b) => a - b));
    const middle = Math.floor(this.names.length / 2);
    return [0, middle, -1].map((place) => sorted.map((rates) => rates.at(place)));
  }

  redraw() {
    for (const chart of [this.latency, this.rates, this.evenness, this.queues]) chart.redraw();
  }
}

function described(scene) {
  return `${scene.run_id} · ${scene.title}, ${scene.protocol.toUpperCase()} · ${scene.offered} · seed ${scene.seed}`;
}
