// The graph: laid out by the server once, filled with figures twice a second.

import { drawn, figure, milliseconds, percent, put } from "./format.js";

const MARGIN = 18;
const SHARES = [["busy", "busy"], ["blocked", "blocked"], ["paused", "paused-share"]];
export const folded = (name) => name.split("@")[0];
export const nodeOf = (end) => end.slice(0, end.lastIndexOf("."));
const foldedEnd = (end) => `${folded(nodeOf(end))}${end.slice(end.lastIndexOf("."))}`;

export class Graph {
  constructor(place, onNode, onPort) {
    this.place = place;
    this.onNode = onNode;
    this.onPort = onPort;
    this.boxes = new Map();
    this.wires = new Map();
  }

  lay(picture) {
    const { width, height } = picture;
    const box = `${-MARGIN} ${-MARGIN} ${width + 2 * MARGIN} ${height + 2 * MARGIN}`;
    this.size = [width + 2 * MARGIN, height + 2 * MARGIN];
    const svg = (this.svg = drawn("svg", { viewBox: box, role: "img" }));
    this.boxes.clear();
    this.wires.clear();
    for (const frame of picture.frames) {
      const { x, y, width, height } = frame;
      svg.append(drawn("rect", { class: "frame", x, y, width, height, rx: 10 }));
      svg.append(drawn("text", { x: x + 12, y: y + 17 }, frame.name));
    }
    const labels = [];
    for (const edge of picture.edges) svg.append(this.wire(edge, labels));
    for (const each of picture.boxes) svg.append(this.box(each));
    svg.append(...labels);
    this.place.replaceChildren(svg);
    this.fit();
  }

  // As wide as there is room, but never so small that it cannot be read: then it scrolls.
  fit() {
    if (!this.svg) return;
    const [width, height] = this.size;
    const room = this.place.clientWidth - 12;
    const scale = Math.min(Math.max(room / width, 0.72), 1.25);
    this.svg.setAttribute("width", width * scale);
    this.svg.setAttribute("height", height * scale);
  }

  wire(edge, labels) {
    const [x, y] = edge.head;
    const title = drawn("title");
    const line = drawn("path", { class: "edge", d: edge.way });
    const tip = drawn("path", { class: "tip", d: `M${x} ${y}l-9 -4.5v9z` });
    const group = drawn("g", { class: "wire" }, title, drawn("path", { class: "reach", d: edge.way }), line, tip);
    group.addEventListener("click", () => this.onPort(edge.sender));
    const label = drawn("text", { class: `number${edge.back ? " right" : ""}`, x: edge.label[0], y: edge.label[1] });
    labels.push(label);
    this.wires.set(`${edge.sender} ${edge.receiver}`, { line, tip, label, title });
    return group;
  }

  box(box) {
    const name = drawn("text", { class: "name", x: 12, y: 20 }, box.node);
    const many = drawn("text", { class: "right", x: box.width - 12, y: 20 });
    const said = drawn("text", { class: "said", x: 12, y: 46 });
    const track = drawn("rect", { class: "track", x: 12, y: 27, width: box.width - 24, height: 5, rx: 2.5 });
    const bars = SHARES.map(([, style]) => drawn("rect", { class: style, x: 12, y: 27, width: 0, height: 5, rx: 1 }));
    const parts = [drawn("rect", { class: "box", width: box.width, height: box.height, rx: 9 }), name, many, said, track, ...bars];
    for (const [port, x, y] of box.ins) parts.push(drawn("text", { class: "port", x: x - box.x + 12, y: y - box.y + 4 }, port));
    for (const [port, x, y] of box.outs)
      parts.push(drawn("text", { class: "port right", x: x - box.x - 10, y: y - box.y + 4 }, port));
    const group = drawn("g", { class: "node", transform: `translate(${box.x} ${box.y})`, tabindex: 0, role: "button", "aria-label": box.node }, ...parts);
    group.addEventListener("click", () => this.onNode(box.node));
    group.addEventListener("keydown", (event) => { if (event.key === "Enter") this.onNode(box.node); });
    this.boxes.set(box.node, { group, many, said, bars, room: box.width - 24 });
    return group;
  }

  show(figures, chosen) {
    const nodes = grouped(figures.nodes, (node) => folded(node.node));
    for (const [name, those] of nodes) {
      const box = this.boxes.get(name);
      if (box) this.fill(box, name, those, figures, chosen);
    }
    const edges = grouped(figures.edges, (edge) => `${foldedEnd(edge.sender)} ${foldedEnd(edge.receiver)}`);
    const outs = new Map();
    for (const [ends, those] of edges) {
      const wire = this.wires.get(ends);
      if (wire) this.flow(wire, those, outs);
    }
  }

  fill(box, name, those, figures, chosen) {
    const states = new Set(those.map((node) => node.state));
    const trouble = those.some((node) => ["failed", "hung", "gone"].includes(node.state));
    const held = those.some((node) => node.state === "paused");
    const slow = figures.bottleneck_node !== null && folded(figures.bottleneck_node) === name;
    const kind = trouble ? " trouble" : held ? " paused" : slow ? " bottleneck" : "";
    box.group.setAttribute("class", `node${kind}${chosen && folded(nodeName(chosen)) === name ? " chosen" : ""}`);
    put(box.many, those.length > 1 ? `×${those.length}` : "");
    const busy = mean(those, "busy");
    const p50 = Math.max(...those.map((node) => node.handling_p50_ms ?? 0));
    const state = [...states].join(" / ");
    put(box.said, state === "running" && busy !== null ? `${percent(busy)} busy${p50 ? ` · ${milliseconds(p50)}` : ""}` : state);
    let x = 12;
    SHARES.forEach(([what], at) => {
      const width = (mean(those, what) ?? 0) * box.room;
      box.bars[at].setAttribute("x", x);
      box.bars[at].setAttribute("width", width);
      x += width;
    });
  }

  flow(wire, those, outs) {
    const [first] = those;
    const sum = (what) => those.reduce((total, edge) => total + edge[what], 0);
    const [rate, depth, credit, dropped] = ["rate", "depth", "credit", "dropped"].map(sum);
    const fill = Math.max(...those.map((edge) => edge.fill));
    const kind = first.kind !== "stream" ? first.kind : fill > 0.85 ? "full" : fill > 0.5 ? "half" : "stream";
    const width = first.kind === "newest" ? 2.2 : 1.4 + Math.min(Math.log10(1 + rate), 5) * 0.9;
    wire.line.setAttribute("class", `edge ${kind}${rate ? "" : " idle"}`);
    wire.line.setAttribute("stroke-width", width.toFixed(2));
    wire.tip.setAttribute("class", `tip ${kind}`);
    const waiting = credit ? `  ${depth}/${credit}` : first.kind === "call" ? `  ${depth}` : "";
    const key = first.sender; // several edges of a port begin at one place: the fullest is told there
    const told = outs.get(key);
    if (!told || fill > told.fill) {
      if (told) put(told.label, "");
      outs.set(key, { fill, label: wire.label });
      put(wire.label, `${figure(rate)}/s${waiting}`);
    } else put(wire.label, "");
    const lost = dropped ? `, ${figure(dropped)} dropped` : "";
    put(wire.title, `${first.sender} → ${first.receiver}\n${first.kind}: ${figure(rate)}/s, ${figure(sum("bytes_rate"))}B/s, ${figure(sum("sent"))} sent${lost}`);
  }
}

export const nodeName = (key) => key.replace(/\[\d+\]$/, "");

export function grouped(values, keyOf) {
  const found = new Map();
  for (const value of values) {
    const key = keyOf(value);
    if (found.has(key)) found.get(key).push(value);
    else found.set(key, [value]);
  }
  return found;
}

export function mean(nodes, what) {
  const known = nodes.map((node) => node[what]).filter((value) => value !== null);
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
}
