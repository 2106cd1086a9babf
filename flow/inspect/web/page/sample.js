// What passes a port, as it passes: pictures, sound, histograms, numbers.

import { clock, element, figure, put } from "./format.js";
import { histogram, picture, plot, raw, waveform } from "./plot.js";

export class Tap {
  constructor(place) {
    this.place = place;
    this.fields = new Map();
  }

  open(address, port) {
    this.close();
    this.address = `${address}.${port}`;
    this.head = element("div", { class: "row quiet" }, `waiting for a message at ${this.address} …`);
    this.place.replaceChildren(this.head);
    this.place.hidden = false;
    this.source = new EventSource(`/api/tap?node=${encodeURIComponent(address)}&port=${encodeURIComponent(port)}`);
    this.source.addEventListener("sample", (event) => this.show(JSON.parse(event.data)));
    this.source.addEventListener("problem", (event) => this.say(JSON.parse(event.data), "bad"));
    this.source.addEventListener("silent", () => { if (!this.fields.size) this.say(`nothing passed ${this.address} yet`, "quiet"); });
  }

  say(text, style) {
    if (this.head.dataset.said === text) return;
    this.head.replaceChildren(element("span", { class: style }, text));
    this.head.dataset.said = text;
  }

  close() {
    this.source?.close();
    this.source = null;
    this.fields.clear();
    this.place.replaceChildren();
    this.place.hidden = true;
  }

  show(sample) {
    if (!this.source) return;
    delete this.head.dataset.said;
    const missed = [sample.skipped ? `${figure(sample.skipped)} skipped` : "", sample.dropped ? `${figure(sample.dropped)} dropped` : ""];
    this.head.replaceChildren(
      element("b", {}, `${sample.what} ${sample.type}`),
      element("span", {}, [`#${sample.number}`, clock(sample.time), ...missed.filter(Boolean)].join("  ")),
    );
    for (const field of sample.fields) {
      const kept = this.fields.get(field.name) ?? this.add(field);
      this.fill(kept, field);
    }
    if (sample.more && !this.more) this.place.append((this.more = element("div", { class: "quiet" }, `and ${sample.more} more fields`)));
  }

  add(field) {
    const kept = { said: element("span", { class: "mono" }), body: element("div") };
    kept.place = element("div", { class: "field" }, element("div", { class: "row" }, element("b", {}, field.name), kept.said), kept.body);
    this.fields.set(field.name, kept);
    this.place.append(kept.place);
    return kept;
  }

  canvas(kept, kind, label) {
    kept[kind] ??= kept.body.appendChild(element("canvas", { class: kind, role: "img", "aria-label": label }));
    return kept[kind];
  }

  fill(kept, field) {
    if (!field.shape) {
      put(kept.said, typeof field.value === "number" ? String(field.value) : JSON.stringify(field.value));
      return;
    }
    put(kept.said, `${field.type} (${field.shape.join(", ")})`);
    if (field.picture) picture(this.canvas(kept, "picture", `picture of ${field.name}`), field.picture);
    if (field.sound) this.sound(kept, field);
    if (field.line) {
      const canvas = this.canvas(kept, "wave", `values of ${field.name}`);
      plot(canvas, [{ x: field.line.map((_, at) => at), y: field.line }]);
    }
    if (field.histogram && !isLarge(field.picture)) histogram(this.canvas(kept, "histogram", `histogram of ${field.name}`), field.histogram);
    kept.numbers ??= kept.body.appendChild(element("div", { class: "quiet mono" }));
    put(kept.numbers, numbers(field));
    kept.numbers.classList.toggle("bad", Boolean(field.statistics.nans || field.statistics.infinities));
  }

  sound(kept, field) {
    const { rate, channels } = field.sound;
    const whole = new Int16Array(raw(field.sound.bytes).buffer);
    const heard = Array.from({ length: channels }, (_, channel) =>
      Float32Array.from({ length: whole.length / channels }, (_, at) => whole[at * channels + channel] / 32768));
    kept.heard = { channels: heard, rate };
    waveform(this.canvas(kept, "wave", `waveform of ${field.name}`), heard);
    kept.play ??= kept.body.appendChild(element("button", { class: "play", onclick: () => play(kept.heard) }, "▶ Play"));
    kept.length ??= kept.body.appendChild(element("span", { class: "quiet" }));
    put(kept.length, `  ${figure(heard[0].length / rate)} s of ${channels === 1 ? "mono" : "stereo"} at ${rate} Hz`);
  }
}

const isLarge = (shown) => Boolean(shown) && shown.width * shown.height >= 784;

function numbers({ statistics: found, cut }) {
  const parts = [];
  if (found.least !== null) parts.push(`${figure(found.least)} to ${figure(found.most)}`);
  if (found.mean !== null && found.spread !== null) parts.push(`mean ${figure(found.mean)} ± ${figure(found.spread)}`);
  if (found.zeros >= 0.005) parts.push(`${Math.round(100 * found.zeros)} % zeros`);
  if (found.nans) parts.push(`${found.nans} NaN`);
  if (found.infinities) parts.push(`${found.infinities} infinite`);
  if (cut) parts.push("of its beginning");
  return parts.join("   ");
}

// What every browser has for the rate of a buffer; others are played faster or slower.
const [SLOWEST_HZ, FASTEST_HZ] = [8000, 96000];
let speaker = null;
let playing = null;

function play({ channels, rate }) {
  speaker ??= new AudioContext();
  playing?.stop();
  const possible = Math.min(Math.max(rate, SLOWEST_HZ), FASTEST_HZ);
  const buffer = speaker.createBuffer(channels.length, channels[0].length, possible);
  channels.forEach((samples, channel) => buffer.copyToChannel(samples, channel));
  const source = (playing = speaker.createBufferSource());
  source.buffer = buffer;
  source.playbackRate.value = rate / possible;
  source.connect(speaker.destination);
  source.start();
}
