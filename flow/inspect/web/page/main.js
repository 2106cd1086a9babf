// The page: one stream of events from the inspector, drawn as it comes.

import { change } from "./asking.js";
import { bytes, duration, element, figure, milliseconds, percent, put } from "./format.js";
import { Graph, folded, nodeOf } from "./graph.js";
import { Panel, log } from "./panel.js";
import { plot } from "./plot.js";

const at = (id) => document.getElementById(id);
let figures = null;
let curves = null;
let chosen = null;
const rows = new Map();
const plots = new Map();

const panel = new Panel(at("panel"), (key) => { chosen = key; graph.fit(); redraw(); if (curves) drawCurves(); });
const graph = new Graph(
  at("graph"),
  (name) => { const first = figures?.nodes.find((node) => folded(node.node) === name); if (first) open(keyOf(first)); },
  (sender) => { const first = figures?.nodes.find((node) => folded(node.node) === nodeOf(sender)); if (first) open(keyOf(first), sender.slice(sender.lastIndexOf(".") + 1)); },
);
const keyOf = (node) => `${node.node}[${node.replica}]`;
const open = (key, port = null) => panel.open(key, figures, port);

function header() {
  put(at("title"), figures.title || figures.run);
  at("title").title = figures.run;
  document.title = `${figures.run} – flow`;
  at("dot").className = figures.state;
  put(at("state"), figures.cause ? `${figures.state}: ${figures.cause}` : figures.state);
  const cores = figures.workers.reduce((sum, worker) => sum + (worker.alive ? worker.cores : 0), 0);
  const memory = figures.workers.reduce((sum, worker) => sum + worker.memory, 0);
  const facts = [
    ["for", duration(figures.elapsed_s)],
    ...(curves?.left && figures.state === "running" ? [["left", duration(curves.left)]] : []),
    ...(figures.state === "running" ? [["cores", figure(cores)], ["memory", bytes(memory)]] : []),
    ["seed", figures.seed ?? "–"],
    ["touched", figures.touched ? `${figures.touched} time${figures.touched > 1 ? "s" : ""}` : "never"],
  ];
  at("facts").replaceChildren(...facts.map(([name, said]) => element("div", { class: name === "touched" && !figures.touched ? "" : name }, element("dt", {}, name), element("dd", {}, String(said)))));
  put(at("bottleneck"), [...figures.problems, figures.bottleneck].join("  "));
  at("bottleneck").className = figures.nodes.some((node) => ["failed", "hung", "gone"].includes(node.state)) ? "bad" : "";
  at("checkpoint").hidden = !(figures.control && figures.state === "running");
  at("done").style.width = `${100 * (curves?.fraction ?? 0)}%`;
}

const COLUMNS = [
  ["node", (node) => node.name], ["state", (node) => node.state], ["doing", null],
  ["busy", (node) => percent(node.busy)], ["starved", (node) => percent(node.starved)], ["blocked", (node) => percent(node.blocked)],
  ["in/s", (node) => figure(node.received)], ["out/s", (node) => figure(node.sent)],
  ["p50", (node) => milliseconds(node.handling_p50_ms)], ["p99", (node) => milliseconds(node.handling_p99_ms)],
  ["batch", (node) => figure(node.batch_p50)], ["restarts", (node) => String(node.restarts)], ["memory", (node) => bytes(node.memory)],
];

function nodes() {
  const counts = new Map();
  for (const node of figures.nodes) counts.set(node.node, (counts.get(node.node) ?? 0) + 1);
  const [head, body] = [at("nodes").querySelector("thead"), at("nodes").querySelector("tbody")];
  if (!head.childElementCount) head.append(element("tr", {}, ...COLUMNS.map(([name]) => element("th", {}, name === "doing" ? "" : name))));
  for (const node of figures.nodes) {
    const key = keyOf(node);
    const name = counts.get(node.node) > 1 ? key : node.node;
    if (!rows.has(key)) {
      const cells = COLUMNS.map(() => element("td"));
      const bars = ["busy", "blocked", "starved", "paused-share"].map((style) => element("i", { class: style }));
      cells[2].append(element("div", { class: "bar" }, ...bars));
      const row = element("tr", { onclick: () => open(key), tabindex: 0, onkeydown: (event) => { if (event.key === "Enter") open(key); } }, ...cells);
      rows.set(key, { row, cells, bars });
      body.append(row);
    }
    const { row, cells, bars } = rows.get(key);
    row.className = key === chosen ? "chosen" : "";
    COLUMNS.forEach(([, said], column) => { if (said) put(cells[column], said({ ...node, name })); });
    cells[1].className = ["failed", "hung", "gone"].includes(node.state) ? "bad" : node.state === "paused" ? "held" : "quiet";
    ["busy", "blocked", "starved", "paused"].forEach((what, bar) => { bars[bar].style.width = `${100 * (node[what] ?? 0)}%`; });
  }
}

let eventsTold = "";

function events() {
  const text = JSON.stringify(figures.events);
  if (text === eventsTold) return;
  eventsTold = text;
  const list = log(figures.events);
  at("events").replaceChildren(element("h2", {}, "Events"), list);
}

function drawCurves() {
  const place = at("curves");
  if (!plots.size || plots.size !== curves.curves.length || curves.curves.some((curve) => !plots.has(curve.name))) {
    plots.clear();
    const grid = element("div", { class: "plots" });
    for (const curve of curves.curves) {
      const [canvas, said] = [element("canvas", { class: "plot", role: "img", "aria-label": `curve of ${curve.name}` }), element("b")];
      grid.append(element("figure", {}, element("figcaption", {}, element("span", {}, `${curve.name}${curve.unit ? `, ${curve.unit}` : ""}`), said), canvas));
      plots.set(curve.name, { canvas, said });
    }
    place.replaceChildren(element("h2", {}, "Metrics"), element("div", { class: "counters" }), grid);
  }
  const told = [
    ...curves.counters.map((one) => [one.name, `${figure(one.total)}${one.target ? ` of ${figure(one.target)}` : ""}`, one.rate ? `${figure(one.rate)}/s` : ""]),
    ...curves.gauges.map((one) => [one.name, figure(one.value), one.unit]),
  ];
  const said = told.map(([name, value, more]) => element("div", { class: "counter" }, element("b", {}, value), element("span", {}, ` ${name} ${more}`)));
  if (!told.length && !curves.curves.length) said.push(element("span", { class: "quiet" }, "the run has told of no metric yet"));
  place.querySelector(".counters").replaceChildren(...said);
  for (const curve of curves.curves) {
    const { canvas, said } = plots.get(curve.name);
    put(said, figure(curve.mean));
    plot(canvas, [curve], { xName: curves.x_name === "seconds" ? "s" : curves.x_name });
  }
}

function redraw() {
  if (!figures) return;
  header();
  graph.show(figures, chosen);
  nodes();
  events();
  panel.show(figures);
}

function listen() {
  const source = new EventSource("/api/live");
  const on = (name, then) => source.addEventListener(name, (event) => then(JSON.parse(event.data)));
  on("picture", (picture) => { graph.lay(picture); if (figures) graph.show(figures, chosen); });
  on("figures", (told) => {
    figures = told;
    panel.remember(told);
    redraw();
    if (!performance.getEntriesByName("drawn").length) performance.mark("drawn");
  });
  on("curves", (told) => { curves = told; drawCurves(); if (figures) header(); });
  source.onerror = () => {
    at("dot").className = "lost";
    put(at("state"), source.readyState === EventSource.CLOSED ? "the inspector has ended; what it last said stays" : "the inspector does not answer");
  };
}

function paint(theme) {
  document.documentElement.dataset.theme = theme;
  if (curves) drawCurves();
  if (figures) panel.show(figures);
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const wished = () => sessionStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
paint(wished());
dark.addEventListener("change", () => paint(wished()));
at("theme").addEventListener("click", () => {
  sessionStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  paint(wished());
});
at("checkpoint").addEventListener("click", () => change({ do: "checkpoint" }, (told) => `checkpoint ${told.number} is written`));
addEventListener("keydown", (event) => { if (event.key === "Escape" && chosen) panel.close(); });
addEventListener("resize", () => { graph.fit(); if (curves) drawCurves(); if (figures) panel.show(figures); });
listen();
