// One node: what it is doing and has done, its settings, what passes its ports, its log and its stack.

import { ask, change } from "./asking.js";
import { bytes, clock, element, figure, milliseconds, percent, put } from "./format.js";
import { nodeOf } from "./graph.js";
import { plot } from "./plot.js";
import { Tap } from "./sample.js";

const DOINGS = [["busy", "busy"], ["blocked", "blocked"], ["starved", "starved"], ["paused", "paused-share"]];
const REFRESH_MS = 5000;

export class Panel {
  constructor(place, onChosen) {
    this.place = place;
    this.onChosen = onChosen;
    this.key = null;
    this.history = new Map();
  }

  // Remembers what the curves of every node show, whether or not its panel is open.
  remember(figures) {
    for (const node of figures.nodes) {
      const key = `${node.node}[${node.replica}]`;
      if (!this.history.has(key)) this.history.set(key, []);
      const kept = this.history.get(key);
      kept.push([figures.now, node.busy, node.blocked, node.received || node.sent, node.handling_p50_ms, node.handling_p99_ms]);
      if (kept.length > 600) kept.shift();
    }
  }

  open(key, figures, port = null) {
    this.key = key;
    this.figures = figures;
    this.place.hidden = false;
    document.body.classList.add("open");
    this.build(figures);
    this.show(figures);
    this.load(port);
    this.onChosen(key);
  }

  close() {
    this.tap?.close();
    this.key = null;
    this.place.hidden = true;
    document.body.classList.remove("open");
    this.onChosen(null);
  }

  build(figures) {
    this.tap?.close();
    const name = this.key.replace(/\[\d+\]$/, "");
    const replicas = figures.nodes.filter((node) => node.node === name).map((node) => `${name}[${node.replica}]`);
    const choice = element("select", { "aria-label": "Replica", onchange: (event) => this.open(event.target.value, this.figures) });
    for (const each of replicas) choice.append(element("option", { value: each, selected: each === this.key }, each.slice(name.length)));
    this.parts = Object.fromEntries(
      ["type", "state", "shares", "key", "figures", "settings", "ports", "log", "stack", "actions", "problem"].map((part) => [part, element("div")]),
    );
    const { parts } = this;
    parts.shares.className = "shares";
    parts.key.className = "key";
    parts.actions.className = "actions";
    parts.ports.className = "ports";
    parts.type.className = "quiet mono";
    this.busy = element("canvas", { class: "plot", role: "img", "aria-label": "busy and blocked over time" });
    this.latency = element("canvas", { class: "plot", role: "img", "aria-label": "latency over time" });
    this.rate = element("canvas", { class: "plot", role: "img", "aria-label": "messages a second over time" });
    const sample = element("div", { class: "sample" });
    this.tap = new Tap(sample);
    sample.hidden = true;
    const closing = element("button", { "aria-label": "Close", onclick: () => this.close() }, "✕");
    const head = element("div", { class: "head" }, element("h2", {}, name), ...(replicas.length > 1 ? [choice] : []), closing);
    const stack = element("button", { onclick: () => this.stack() }, "Where is it now?");
    this.place.replaceChildren(
      head, parts.type, parts.state, parts.actions, parts.shares, parts.key, parts.figures,
      element("h3", {}, "Ports: click to see what passes"), parts.ports, sample,
      element("h3", {}, "Busy and blocked"), this.busy,
      element("h3", {}, "Latency, half of all and 99 of 100"), this.latency,
      element("h3", {}, "Messages a second"), this.rate,
      element("h3", {}, "Settings"), parts.settings, parts.problem,
      element("h3", {}, "Log"), parts.log,
      element("h3", {}, "Stack"), stack, parts.stack,
    );
    this.place.scrollTop = 0;
    this.barred = DOINGS.map(([, style]) => parts.shares.appendChild(element("i", { class: style })));
    this.told = DOINGS.map(([what, style]) => {
      const said = element("span");
      parts.key.append(element("span", {}, element("i", { class: style }), said));
      return [what, said];
    });
    this.actions(figures.control && figures.state === "running");
  }

  actions(may) {
    if (!may) return;
    const button = (label, what, more = {}) =>
      element("button", { onclick: () => change({ do: what, node: this.key, ...more }, (told) => this.done(what, told)) }, label);
    this.holding = [button("Pause", "pause"), button("Resume", "resume"), button("Step", "step")];
    this.parts.actions.append(...this.holding, button("Restart", "restart"));
  }

  done(what, told) {
    this.load();
    const after = told.messages === undefined ? "" : ` after ${told.messages} messages`;
    const past = { pause: "paused", resume: "goes on", step: "took a message", restart: "started again" };
    return what in past ? `${this.key}: ${past[what]}${after}` : `${this.key}.${what}: set, for certain from message ${told.holds_from} on`;
  }

  show(figures) {
    if (!this.key) return;
    this.figures = figures;
    const node = figures.nodes.find((each) => `${each.node}[${each.replica}]` === this.key);
    if (!node) return;
    const { parts } = this;
    const bad = ["failed", "hung", "gone"].includes(node.state);
    put(parts.state, `${node.state}${node.stuck_s ? ` for ${Math.round(node.stuck_s)} s` : ""}${node.last_error ? `: ${node.last_error}` : ""}`);
    parts.state.className = bad ? "bad text" : node.state === "paused" ? "held" : "quiet text";
    DOINGS.forEach(([what], at) => { this.barred[at].style.width = `${100 * (node[what] ?? 0)}%`; });
    for (const [what, said] of this.told) {
      put(said, `${what} ${percent(node[what])}`);
      said.parentElement.hidden = what === "paused" && !node[what];
    }
    if (this.holding) {
      const held = node.state === "paused";
      this.holding[0].hidden = held;
      this.holding[1].hidden = this.holding[2].hidden = !held;
    }
    const rows = [
      ["receives", `${figure(node.received)}/s`], ["sends", `${figure(node.sent)}/s`], ["restarts", node.restarts],
      ["latency p50", milliseconds(node.handling_p50_ms)], ["p99", milliseconds(node.handling_p99_ms)], ["answers p50 / p99", node.answer_p50_ms === null ? "–" : `${milliseconds(node.answer_p50_ms)} / ${milliseconds(node.answer_p99_ms)}`],
      ["batch rows p50", figure(node.batch_p50)], ["largest batch", figure(node.batch_max)], ["memory", bytes(node.memory)],
      ["worker", node.worker], ["process", node.pid], ["device memory", bytes(node.device_memory)],
    ];
    const list = element("dl", { class: "figures" }, ...rows.map(([name, said]) => element("div", {}, element("dt", {}, name), element("dd", {}, String(said)))));
    if (parts.figures.textContent !== list.textContent) parts.figures.replaceChildren(list);
    this.draw();
    if (Date.now() - this.loaded > REFRESH_MS && figures.state === "running" && !this.place.contains(document.activeElement?.closest?.("form"))) this.load();
  }

  draw() {
    const kept = this.history.get(this.key) ?? [];
    const end = kept.at(-1)?.[0] ?? 0;
    const x = kept.map((row) => row[0] - end);
    const line = (at, colour) => ({ x, y: kept.map((row) => row[at]), colour });
    const xName = "s";
    plot(this.busy, [line(1, "busy"), line(2, "blocked")], { low: 0, high: 1, xName });
    plot(this.latency, [line(5, "faint"), line(4, "accent")], { low: 0, xName });
    plot(this.rate, [line(3, "good")], { low: 0, xName });
  }

  async load(port = null) {
    const key = this.key;
    this.loaded = Date.now();
    const told = await ask(`/api/node?node=${encodeURIComponent(key)}`);
    if (key !== this.key) return;
    const { parts } = this;
    if (told.error) { put(parts.problem, told.error); return; }
    put(parts.type, told.type);
    parts.type.title = told.doc;
    put(parts.problem, told.problem && this.figures.state === "running" ? told.problem : "");
    this.settings(told.settings);
    const names = told.ports.map((each) => each.name).join(" ");
    if (parts.ports.dataset.names !== names) this.ports(told.ports);
    parts.ports.dataset.names = names;
    parts.log.replaceChildren(log(told.events));
    if (port) this.follow(told.ports.find((each) => each.name === port));
  }

  settings(all) {
    const text = JSON.stringify(all);
    if (text === this.parts.settings.dataset.told) return;
    this.parts.settings.dataset.told = text;
    const rows = all.flatMap((each) => {
      const name = element("dt", { title: each.doc || "" }, each.name);
      const value = JSON.stringify(each.value);
      const may = each.live && this.figures.control;
      const marks = [each.live && !may ? "live" : "", each.changed ? "changed by hand" : ""].filter(Boolean).join(", ");
      return [name, may ? element("dd", {}, this.form(each), marks) : element("dd", { title: each.takes }, value, marks ? element("span", { class: "warning" }, `  ${marks}`) : "")];
    });
    this.parts.settings.replaceChildren(rows.length ? element("dl", { class: "settings" }, ...rows) : "none");
  }

  form(setting) {
    const input = element("input", { value: JSON.stringify(setting.value), "aria-label": setting.name, title: setting.takes });
    const send = (event) => {
      event.preventDefault();
      input.blur();
      change({ do: "set", node: this.key, name: setting.name, value: input.value }, (told) => {
        this.parts.settings.dataset.told = "";
        return this.done(setting.name, told);
      });
    };
    return element("form", { onsubmit: send }, input, element("button", {}, "Set"));
  }

  ports(all) {
    this.parts.ports.replaceChildren(
      ...all.map((port) => element("button", { "data-port": port.name, title: `${port.kind}[${port.messages.join(", ")}]  ${port.doc}`, onclick: () => this.follow(port) }, port.name)),
    );
    if (!all.length) this.parts.ports.append(element("span", { class: "quiet" }, "nothing passes: the run is over"));
  }

  // A port that reads what another node publishes is seen at that node.
  follow(port) {
    if (!port) return;
    for (const button of this.parts.ports.children) button.classList.toggle("chosen", button.dataset?.port === port.name);
    const end = `${this.key.replace(/\[\d+\]$/, "")}.${port.name}`;
    const from = port.kind === "Latest" ? this.figures.edges.find((edge) => edge.receiver === end)?.sender : null;
    if (from) this.tap.open(`${nodeOf(from)}[0]`, from.slice(from.lastIndexOf(".") + 1));
    else this.tap.open(this.key, port.name);
  }

  async stack() {
    put(this.parts.stack, "asking …");
    const told = await ask(`/api/stack?node=${encodeURIComponent(this.key)}`);
    this.parts.stack.replaceChildren(element("pre", {}, told.error ?? told.lines.join("\n")));
  }
}

export function log(events) {
  if (!events.length) return element("span", { class: "quiet" }, "nothing yet");
  const lines = events.toReversed().map((event) =>
    element("li", {}, element("span", {}, clock(event.time)), element("span", { class: `text ${event.level === "error" ? "bad" : event.level}` }, event.node ? `${event.node}  ${event.text}` : event.text)),
  );
  return element("ol", { class: "log" }, ...lines);
}
