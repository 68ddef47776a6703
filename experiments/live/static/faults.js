// What can be done by hand to a run that is being made: buttons for the mouse and Tab, keys for the quick.

import { el, panel, put } from "./dom.js";

const BACKEND = [
  ["kill", "k"], ["pause", "p"], ["slow", "s", 0.25, "slow ×¼"], ["drain", "d"], ["restore", "r"],
];
const CLIENT = [
  ["loss", "l", 20, "loss 20 %"], ["delay", "y", 100, "delay 100 ms"], ["cut", "c"], ["restore", "r"],
];
const MOST = 12;

export class Faults {
  constructor(scene) {
    this.said = el("p", { role: "status", "data-name": "asked" });
    this.rows = new Map();
    const rows = [["backend", BACKEND], ["client", CLIENT]].flatMap(([role, actions]) =>
      scene.hosts.filter((host) => host.role === role).slice(0, MOST)
        .map(({ name }) => this.row(name, actions)));
    this.root = panel("By hand: this run is no evidence",
      el("div", { class: "faults" }, ...rows), this.said,
      el("p", { class: "soft" }, `1 to ${Math.min(9, rows.length)} or a click in the network chooses; ` +
        "k kill, p pause, s slow, d drain, l loss, y delay, c cut, r restore"));
    this.root.classList.add("wide");
    this.choose([...this.rows.keys()][0]);
  }

  row(name, actions) {
    const buttons = new Map(actions.map(([action, key, value = null, label = action]) => {
      const button = el("button", { type: "button", "aria-keyshortcuts": key, "aria-label": `${label} ${name}` }, label);
      button.addEventListener("click", () => {
        this.choose(name);
        this.ask({ action, subject: name, ...(value === null ? {} : { value }) });
      });
      return [action, { button, key }];
    }));
    const node = el("div", { role: "group", "aria-label": name, "data-subject": name },
      el("strong", {}, name), ...[...buttons.values()].map(({ button }) => button));
    this.rows.set(name, { node, buttons });
    return node;
  }

  choose(name) {
    if (!this.rows.has(name)) return;
    this.chosen = name;
    for (const [each, { node }] of this.rows) {
      node.classList.toggle("chosen", each === name);
      node.setAttribute("aria-current", String(each === name));
    }
  }

  // Whether the key meant something here.
  key(pressed) {
    const name = /^[1-9]$/.test(pressed) ? [...this.rows.keys()][Number(pressed) - 1] : undefined;
    if (name !== undefined) {
      this.choose(name);
      return true;
    }
    const found = [...this.rows.get(this.chosen).buttons.values()].find(({ key }) => key === pressed);
    found?.button.click();
    return found !== undefined;
  }

  async ask(fault) {
    const { button } = this.rows.get(fault.subject).buttons.get(fault.action);
    const words = `${button.textContent} ${fault.subject}`;
    if (button.getAttribute("aria-disabled") === "true") {
      return put(this.said, `${words}: not possible now`);
    }
    put(this.said, `${words} …`);
    const answer = await fetch("/faults", {
      method: "POST",
      headers: { "content-type": "application/json", "x-nginy": "page" },
      body: JSON.stringify(fault),
    }).catch(() => null);
    const problem = answer === null ? "the server is gone" : answer.ok ? "" : await answer.text();
    put(this.said, problem ? `${words}: ${problem}` : `asked for: ${words}`);
  }

  // What cannot be done now stays in its place, so that whoever uses Tab is not lost.
  show(frame) {
    const ailing = new Map();
    for (const { label } of frame.events) {
      const [action, name] = label.split(" ");
      if (action === "restore") ailing.delete(name);
      else ailing.set(name, [...(ailing.get(name) ?? []), action]);
    }
    for (const [name, { buttons }] of this.rows) {
      const done = ailing.get(name) ?? [];
      for (const [action, { button }] of buttons) {
        const off = action === "restore" ? !done.length
          : done.includes("kill") || (done.includes("pause") && action !== "kill");
        button.setAttribute("aria-disabled", String(off));
      }
    }
  }
}
