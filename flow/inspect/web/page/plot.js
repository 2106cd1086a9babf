// Lines, histograms, waveforms and pictures on canvases, in the page's colours.

import { figure } from "./format.js";

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function surface(canvas) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "10.5px ui-sans-serif, system-ui, sans-serif";
  return [pen, width, height];
}

// lines: [{x, y, spread, colour}]; y may hold null where nothing is known
export function plot(canvas, lines, { low = null, high = null, xName = "" } = {}) {
  const [pen, width, height] = surface(canvas);
  if (!width) return;
  const ys = lines.flatMap((line) => line.y).filter((value) => value !== null);
  const xs = lines.flatMap((line) => [line.x[0], line.x.at(-1)]).filter((value) => value !== undefined && value !== null);
  if (!ys.length) return;
  let [bottom, top] = [low ?? Math.min(...ys), high ?? Math.max(...ys)];
  if (bottom === top) [bottom, top] = [bottom - (Math.abs(bottom) * 0.1 || 1), top + (Math.abs(top) * 0.1 || 1)];
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const labels = [figure(top), figure(bottom)];
  const side = Math.max(...labels.map((label) => pen.measureText(label).width)) + 7;
  const [x0, y0, w, h] = [side, 6, width - side - 3, height - 6 - 15];
  const atX = (x) => x0 + (right > left ? (x - left) / (right - left) : 1) * w;
  const atY = (y) => y0 + h - ((y - bottom) / (top - bottom)) * h;
  pen.strokeStyle = colour("line");
  pen.lineWidth = 1;
  pen.beginPath();
  for (const y of [y0 + 0.5, Math.round(y0 + h) + 0.5]) { pen.moveTo(x0, y); pen.lineTo(x0 + w, y); }
  pen.stroke();
  pen.fillStyle = colour("faint");
  pen.textAlign = "right";
  pen.fillText(labels[0], side - 5, y0 + 7);
  pen.fillText(labels[1], side - 5, y0 + h + 1);
  pen.fillText(`${figure(right)} ${xName}`.trim(), x0 + w, height - 2);
  pen.textAlign = "left";
  pen.fillText(figure(left), x0, height - 2);
  pen.save();
  pen.beginPath();
  pen.rect(x0, y0 - 2, w + 2, h + 4);
  pen.clip();
  for (const line of lines) {
    pen.strokeStyle = pen.fillStyle = colour(line.colour ?? "accent");
    if (line.spread) shade(pen, line, atX, atY);
    pen.lineWidth = 1.6;
    pen.lineJoin = "round";
    pen.beginPath();
    let down = false;
    line.x.forEach((x, at) => {
      const y = line.y[at];
      if (y === null || y === undefined) { down = false; return; }
      if (down) pen.lineTo(atX(x), atY(y));
      else pen.moveTo(atX(x), atY(y));
      down = true;
    });
    pen.stroke();
    if (line.x.length === 1 && line.y[0] !== null) pen.fillRect(atX(line.x[0]) - 2, atY(line.y[0]) - 2, 4, 4);
  }
  pen.restore();
}

function shade(pen, line, atX, atY) {
  pen.globalAlpha = 0.14;
  pen.beginPath();
  line.x.forEach((x, at) => pen.lineTo(atX(x), atY(line.y[at] + (line.spread[at] ?? 0))));
  for (let at = line.x.length - 1; at >= 0; at--) pen.lineTo(atX(line.x[at]), atY(line.y[at] - (line.spread[at] ?? 0)));
  pen.fill();
  pen.globalAlpha = 1;
}

export function histogram(canvas, { low, high, counts }) {
  const [pen, width, height] = surface(canvas);
  const most = Math.max(...counts, 1);
  const step = width / counts.length;
  pen.fillStyle = colour("busy");
  counts.forEach((count, at) => {
    const tall = count ? Math.max((count / most) * (height - 14), 1) : 0;
    pen.fillRect(at * step, height - 13 - tall, Math.max(step - 1, 1), tall);
  });
  pen.fillStyle = colour("faint");
  pen.textAlign = "left";
  pen.fillText(figure(low), 0, height - 2);
  pen.textAlign = "right";
  pen.fillText(figure(high), width, height - 2);
}

// channels: one below the other, each of amplitudes from -1 to 1
export function waveform(canvas, channels) {
  const [pen, width, whole] = surface(canvas);
  const height = whole / channels.length;
  channels.forEach((samples, channel) => {
    pen.fillStyle = colour("line");
    pen.fillRect(0, (channel + 0.5) * height, width, 1);
    pen.fillStyle = pen.strokeStyle = colour("busy");
    const per = samples.length / width;
    if (per < 2) { // too few for each column to have some: a line from one to the next
      pen.lineWidth = 1.6;
      pen.beginPath();
      samples.forEach((value, at) => pen.lineTo((at / Math.max(samples.length - 1, 1)) * width, (channel + (1 - value) / 2) * height));
      pen.stroke();
      return;
    }
    for (let x = 0; x < width; x++) {
      let [low, high] = [1, -1];
      for (let at = Math.floor(x * per); at < Math.min((x + 1) * per, samples.length); at++) {
        low = Math.min(low, samples[at]);
        high = Math.max(high, samples[at]);
      }
      if (high >= low) pen.fillRect(x, (channel + (1 - high) / 2) * height, 1, Math.max(((high - low) / 2) * height, 1));
    }
  });
}

export const raw = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

export function picture(canvas, { width, height, channels, bytes }) {
  const values = raw(bytes);
  const image = new ImageData(width, height);
  for (let at = 0; at < width * height; at++) {
    for (let channel = 0; channel < 3; channel++) image.data[4 * at + channel] = values[channels === 1 ? at : 3 * at + channel];
    image.data[4 * at + 3] = 255;
  }
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const scale = Math.max(1, Math.min(6, Math.floor(170 / Math.max(width, height)) || 1));
  canvas.style.width = `${width * scale}px`;
  canvas.getContext("2d").putImageData(image, 0, 0);
}
