// The page: one view per run, one clock for all.

import { put } from "./dom.js";
import { clock } from "./numbers.js";
import { RunView } from "./run.js";
import { Stream } from "./stream.js";
import { themes } from "./theme.js";

const STEP_S = 5;
const $ = (id) => document.getElementById(id);
const [pause, speed, seek, veil] = ["pause", "speed", "seek", "veil"].map($);
let now = { t_s: 0, end_s: Infinity, speed: 1, paused: false, ended: false };
let speeds = [];
let live = false;

async function command(asked) {
  const answer = await fetch("/clock", {
    method: "POST",
    headers: { "content-type": "application/json", "x-nginy": "page" },
    body: JSON.stringify(asked),
  }).catch(() => null); // the stream says that the server is gone
  if (answer?.ok) showClock(await answer.json());
}

function showClock(state) {
  now = state;
  put($("clock"), `${clock(now.t_s)} / ${clock(now.end_s)}`);
  put(pause, now.ended ? "Once more" : now.paused ? "Play" : "Pause");
  // What is stored has taken its place: the same run, now judged, as a replay.
  if (live && !now.live) return location.reload();
  put($("mode"), now.live ? "LIVE, NO EVIDENCE" : now.ended ? "REPLAY, at its end" : now.paused ? "REPLAY, PAUSED" : "REPLAY");
  seek.max = now.end_s;
  if (document.activeElement !== speed) speed.value = now.speed;
  if (!dragging) seek.value = now.t_s;
  seek.setAttribute("aria-valuetext", clock(now.t_s));
}

const toggle = () =>
  command(now.ended ? { seek_s: 0, paused: false } : { paused: !now.paused });

// What was asked counts at once, or the second of two quick keys would start from the old state.
function jump(by_s) {
  now = { ...now, t_s: Math.min(now.end_s, Math.max(0, now.t_s + by_s)) };
  command({ seek_s: now.t_s });
}

function faster(by) {
  const asked = speeds[speeds.indexOf(now.speed) + by];
  if (asked === undefined) return;
  now = { ...now, speed: asked };
  command({ speed: asked });
}

const LOWEST = ["fastest", "jain"];

function common(all) {
  const of = (name) => {
    const values = all.map((each) => each[name]);
    return LOWEST.includes(name) ? Math.min(...values) : Math.max(...values);
  };
  return Object.fromEntries(Object.keys(all[0]).map((name) => [name, of(name)]));
}

let dragging = false;
seek.addEventListener("input", () => (dragging = true));
seek.addEventListener("change", () => {
  dragging = false;
  command({ seek_s: Number(seek.value) });
});
speed.addEventListener("change", () => command({ speed: Number(speed.value) }));
pause.addEventListener("click", toggle);

const KEYS = {
  " ": toggle,
  ArrowLeft: () => jump(-STEP_S),
  ArrowRight: () => jump(STEP_S),
  "+": () => faster(1),
  "-": () => faster(-1),
};

document.addEventListener("keydown", (event) => {
  const busy = event.ctrlKey || event.altKey || event.metaKey;
  if (live) {
    if (!busy && !event.target.closest("input, select")) views[0].key(event.key);
    return;
  }
  if (busy || event.target.closest("button, input, select") || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
});

const views = [];
themes($("theme"), () => views.forEach((view) => view.redraw()));

// The server may be gone just when the page begins anew.
async function found(url) {
  for (;;) {
    const answer = await fetch(url).catch(() => null);
    if (answer?.ok) return answer.json();
    veil.hidden = false;
    put($("veil-text"), "Connection lost. Trying again.");
    await new Promise((again) => setTimeout(again, 1000));
  }
}

const { scenes, speeds: offered } = await found("/scenes");
speeds = offered;
live = scenes.some((scene) => scene.live);
for (const each of document.querySelectorAll(".replay")) each.hidden = live;
for (const each of speeds) speed.append(new Option(`${each}x`, each));
$("runs").classList.toggle("two", scenes.length > 1);
const end_s = Math.max(...scenes.map((scene) => scene.end_s));
for (const scene of scenes) views.push(new RunView(scene, end_s, $("runs")));
document.title = `nginy: ${scenes.map((scene) => scene.algorithm).join(" and ")}`;

new Stream(
  ({ clock: state, runs }) => {
    if (runs.length !== views.length) return location.reload(); // another server took its place
    showClock(state);
    runs.forEach((run, number) => views[number].show(run));
    const limits = common(views.map((view) => view.limits()));
    for (const view of views) view.draw(limits);
  },
  (silent_s) => {
    veil.hidden = silent_s === null;
    if (silent_s !== null) {
      put($("veil-text"), `Connection lost; last frame ${silent_s.toFixed(0)} s ago. Trying again.`);
    }
  },
);
