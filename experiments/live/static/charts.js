// Lines over time by uPlot, and the map of queues. All share the axis of time and its markers.

import { colour, el, svg } from "./dom.js";

const uPlot = globalThis.uPlot;
const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3], [5, 2, 1, 2, 1, 2], [12, 4], [1, 2]];
const SERIES = 7;
export const MOST_LINES = 8;
const GUTTER = 62;

const tint = (number) => () => colour(`s${number % SERIES}`);
const dash = (number) => DASHES[(number + Math.floor(number / SERIES)) % DASHES.length];

export function legend(names) {
  const entry = (name, number) => {
    const line = svg("line", { x1: 0, y1: 5, x2: 30, y2: 5, class: `s${number % SERIES}` });
    line.setAttribute("stroke-width", 2.5);
    line.setAttribute("stroke-dasharray", dash(number).join(" ") || "none");
    const swatch = svg("svg", { class: "swatch", viewBox: "0 0 30 10", "aria-hidden": "true" }, line);
    return el("span", {}, swatch, name);
  };
  return el("div", { class: "legend" }, ...names.map(entry));
}

export class Lines {
  // `y`: {label, log}; `named`: whether markers carry their words; a series without a name is
  // not drawn.
  constructor({ names, height, end_s, warmup_s, y, named, band, step }) {
    this.events = [];
    this.lost = [];
    this.span = [0.1, 1];
    this.root = el("div", { class: "plot" });
    const axis = { stroke: () => colour("soft"), grid: { stroke: () => colour("line"), width: 1 } };
    const line = (name, number) => ({
      label: name,
      stroke: tint(number),
      dash: dash(number),
      width: name ? 2 : 0,
      points: { show: false },
      paths: step ? uPlot.paths.stepped({ align: -1 }) : undefined,
    });
    this.plot = new uPlot(
      {
        width: 400,
        height,
        padding: [named ? 34 : 10, 12, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: false, range: [0, end_s] },
          y: { ...(y.log ? { distr: 3, log: 10 } : {}), range: () => this.span },
        },
        axes: [
          { ...axis, size: 28, values: (_, ticks) => ticks.map((tick) => `${tick} s`) },
          { ...axis, size: GUTTER, label: y.label, labelSize: 18 },
        ],
        series: [{}, ...names.map(line)],
        bands: band ? [{ series: band, fill: () => colour("band") }] : [],
        hooks: {
          drawClear: [(plot) => shade(plot, warmup_s)],
          draw: [(plot) => this.marks(plot, named)],
        },
      },
      [[], ...names.map(() => [])],
      this.root,
    );
    new ResizeObserver(() => this.fit(height)).observe(this.root);
  }

  fit(height) {
    const width = this.root.clientWidth;
    if (width && width !== this.plot.width) this.plot.setSize({ width, height });
  }

  // `span`: of the axis of values.
  show(columns, span, events, lost = []) {
    this.span = span;
    this.events = events;
    this.lost = lost;
    this.plot.setData(columns);
  }

  redraw() {
    this.plot.redraw(false, true);
  }

  marks(plot, named) {
    const { ctx, bbox } = plot;
    const scale = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("ink");
    ctx.lineWidth = scale;
    ctx.font = `${12 * scale}px system-ui, sans-serif`;
    ctx.textAlign = "center";
    let [freeUntil, row] = [-Infinity, 0];
    for (const { t_s, label } of this.events) {
      const x = plot.valToPos(t_s, "x", true);
      ctx.setLineDash([3 * scale, 3 * scale]);
      stroke(ctx, x, bbox.top, bbox.top + bbox.height);
      if (!named) continue;
      const half = ctx.measureText(label).width / 2 + 4 * scale;
      row = x - half < freeUntil ? 1 - row : 0;
      freeUntil = x + half;
      ctx.fillText(label, x, bbox.top - (6 + 14 * row) * scale);
    }
    ctx.setLineDash([]);
    ctx.strokeStyle = colour("bad");
    ctx.lineWidth = 2 * scale;
    for (const t_s of this.lost) {
      stroke(ctx, plot.valToPos(t_s, "x", true), bbox.top, bbox.top + 9 * scale);
    }
    ctx.restore();
  }
}

// Whole powers of ten around what was found.
export function decades(low, high) {
  const floor = Math.floor(Math.log10(Math.max(low, 1)));
  return [10 ** floor, 10 ** Math.max(Math.ceil(Math.log10(high)), floor + 1)];
}

function stroke(ctx, x, top, bottom) {
  ctx.beginPath();
  ctx.moveTo(x, top);
  ctx.lineTo(x, bottom);
  ctx.stroke();
}

function shade(plot, warmup_s) {
  if (warmup_s <= 0) return;
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = colour("warm");
  ctx.fillRect(bbox.left, bbox.top, plot.valToPos(warmup_s, "x", true) - bbox.left, bbox.height);
  ctx.restore();
}

// A row per backend: the fuller its shade, the longer its queue; a line below it while it is busy, and one in
// its middle while it is silent.
export class QueueMap {
  constructor(names, end_s) {
    this.names = names;
    this.end_s = end_s;
    this.row = names.length > 12 ? 14 : 24;
    this.height = this.row * names.length + 22;
    this.root = el("canvas", { class: "heat", role: "img" });
    this.root.style.height = `${this.height}px`;
    this.points = [];
    this.most = 1;
    new ResizeObserver(() => this.redraw()).observe(this.root);
  }

  show(points, most, frame) {
    this.points = points;
    this.most = most;
    this.redraw();
    const said = frame.backends.map((each) => `${each.name} ${each.queue ?? "silent"}`).join(", ");
    this.root.setAttribute("aria-label", `Queues now: ${said}`);
  }

  redraw() {
    const [width, scale] = [this.root.clientWidth, devicePixelRatio];
    if (!width) return;
    this.root.width = width * scale;
    this.root.height = this.height * scale;
    const ctx = this.root.getContext("2d");
    ctx.scale(scale, scale);
    ctx.font = "13px system-ui, sans-serif";
    const x = (t_s) => GUTTER + ((width - GUTTER - 40) * t_s) / this.end_s;
    this.names.forEach((name, number) => this.line(ctx, name, number, x));
    ctx.fillStyle = colour("soft");
    ctx.fillText(`full shade: ${this.most} waiting · line below: busy · line in the middle: silent`, GUTTER, this.height - 5);
  }

  line(ctx, name, number, x) {
    const top = number * this.row;
    const middle = top + this.row / 2 + 4;
    ctx.fillStyle = colour("ink");
    ctx.fillText(name, 4, middle, GUTTER - 8);
    const last = this.points.at(-1);
    ctx.fillText(last?.queue[number] ?? "×", x(this.end_s) + 8, middle);
    this.points.forEach((point, place) => {
      const from = place ? this.points[place - 1].t : point.t;
      const [left, width] = [x(from), Math.max(1, x(point.t) - x(from) + 0.5)];
      const queue = point.queue[number];
      ctx.fillStyle = colour2(this, queue === null ? "bad" : "ink");
      if (queue === null) return ctx.fillRect(left, top + this.row / 2 - 1, width, 2);
      ctx.globalAlpha = queue / this.most;
      ctx.fillRect(left, top + 2, width, this.row - 7);
      ctx.globalAlpha = 1;
      ctx.fillStyle = colour2(this, "s0");
      if (point.busy[number]) ctx.fillRect(left, top + this.row - 4, width, 2);
    });
  }
}

// Asking for a style costs more than drawing a cell.
function colour2(map, name) {
  const theme = document.documentElement.dataset.theme;
  if (map.theme !== theme) [map.theme, map.colours] = [theme, {}];
  return (map.colours[name] ??= colour(name));
}
