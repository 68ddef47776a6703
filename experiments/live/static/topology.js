// The network as a drawing: clients on the left, switches and balancers between, backends on the right.

import { put, svg } from "./dom.js";
import { whole } from "./numbers.js";

const MOST = 12;
const ROW = 66;
const TOP = 20;
const WIDTH = 650;
const X = { client: 50, switch: 290, balancer: 290, backend: 500 };

export class Topology {
  constructor(scene) {
    this.backends = new Map();
    this.cables = new Map();
    const places = placed(scene.hosts);
    const rows = Math.max(...[...places.values()].map((place) => place.y));
    this.root = svg("svg", {
      viewBox: `0 ${-TOP} ${WIDTH} ${rows + 55 + TOP}`,
      role: "img",
      "aria-label": described(scene),
    });
    for (const link of scene.links) this.cable(link, places);
    for (const host of scene.hosts) {
      const place = places.get(host.name);
      if (place) this.host(host, place);
    }
    const hidden = scene.hosts.length - places.size;
    if (hidden) this.root.append(svg("text", { x: 8, y: rows + 48 }, `and ${hidden} more hosts`));
  }

  cable(link, places) {
    const [from, to] = link.ends.map((name) => places.get(name));
    if (!from || !to) return;
    const line = svg("line", {
      x1: from.x, y1: from.y, x2: to.x, y2: to.y,
      class: link.asked ? "cable asked" : "cable",
    });
    line.append(svg("title", {}, measured(link)));
    this.root.append(line);
    this.cables.set(link.ends[0], line);
    if (!link.asked) return;
    // On that side of a host's box where its cable is not; of a trunk, at its middle.
    const trunk = from.x === to.x;
    const beside = from.y < to.y ? from.y - 38 : from.y + 31;
    const [x, y] = trunk ? [from.x, (from.y + to.y) / 2] : [from.x - 30, beside];
    const anchor = trunk ? "middle" : "start";
    this.root.append(
      svg("text", { x, y, class: "over", "text-anchor": anchor }, link.asked),
      svg("text", { x, y: y + 15, class: "soft over", "text-anchor": anchor }, found(link)),
    );
  }

  host({ name, role }, { x, y }) {
    const node = svg("g", { "data-host": name }, svg("title", {}, `${role} ${name}`));
    const box = svg("rect", { x: x - 30, y: y - 16, width: 60, height: 32, rx: 6, class: "box" });
    node.append(box, svg("text", { x, y: y + 5, "text-anchor": "middle" }, name));
    this.root.append(node);
    if (role === "backend") this.meter(node, box, name, x, y);
  }

  meter(node, box, name, x, y) {
    const filled = svg("rect", { x: x + 38, y: y - 14, width: 0, height: 8, class: "filled" });
    const frame = svg("rect", { x: x + 38, y: y - 14, width: 60, height: 8, class: "meter" });
    const words = svg("text", { x: x + 38, y: y + 8, class: "soft" });
    const state = svg("text", { x: x + 38, y: y + 22, class: "soft" });
    node.append(filled, frame, words, state);
    this.backends.set(name, { box, filled, words, state });
  }

  show(backends) {
    const most = Math.max(10, ...backends.map((each) => each.queue ?? 0));
    for (const each of backends) {
      const parts = this.backends.get(each.name);
      if (!parts) continue;
      parts.box.classList.toggle("off", !each.up);
      this.cables.get(each.name)?.classList.toggle("off", !each.up);
      parts.filled.setAttribute("width", (60 * (each.queue ?? 0)) / most);
      put(parts.words, `queue ${whole(each.queue)}${each.busy ? ", busy" : ""}`);
      put(parts.state, each.state === "up" ? "" : `${each.up ? "!" : "✕"} ${each.state}`);
    }
  }
}

function placed(hosts) {
  const places = new Map();
  const of = (role) => hosts.filter((host) => host.role === role).slice(0, MOST);
  const tallest = Math.max(...["client", "backend"].map((role) => of(role).length), 3);
  const column = (list, x) => {
    const step = (tallest * ROW) / list.length;
    list.forEach(({ name }, place) => places.set(name, { x, y: step * (place + 0.5) }));
  };
  column(of("client"), X.client);
  column(of("backend"), X.backend);
  column([...of("balancer"), ...of("switch")], X.switch);
  return places;
}

const near = (link, quantity) =>
  link.measured.filter((each) => each.quantity === quantity).map((each) => each.measured);

function found(link) {
  const parts = ["delay", "loss", "rate"].flatMap((quantity) => {
    const values = [...new Set(near(link, quantity))];
    return values.length ? [values.join(" / ")] : [];
  });
  return parts.length ? `measured ${parts.slice(0, 2).join(", ")}` : "not measured";
}

const measured = (link) =>
  [link.name, ...link.measured.map(told)].join("\n");
const told = (each) =>
  `${each.direction} ${each.quantity}: asked ${each.asked}, measured ${each.measured}` +
  (each.ok ? "" : " NOT AS ASKED");

function described(scene) {
  const count = (role) => scene.hosts.filter((host) => host.role === role).length;
  return (
    `Network: ${count("client")} clients, ${count("switch")} switches, ` +
    `${count("balancer")} balancers, ${count("backend")} backends`
  );
}
