"""Sound that passes a port of a real run, on the page in a real browser: drawn as it is, and heard as it is."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the page needs: pip install 'flow-research[web]'")
pytest.importorskip("hypercorn", reason="the page needs: pip install 'flow-research[web]'")

from tests.runs.running import Home
from tests.runs.test_control import ended
from tests.runs.web import in_browser, page_of, web_of

pytestmark = pytest.mark.real_time

SOUNDS = {  # what each node says: Hz of each channel
    "whole": [440.0],
    "stereo": [700.0, 2100.0],
    "slow": [200.0],
}
GRAPH = """
title = "tones"
[nodes.whole]
run = "tests.runs.sound_nodes:pcm_tones"
hz = 440.0
rate = 16000
[nodes.stereo]
run = "tests.runs.sound_nodes:tones"
hz = 700.0
second_hz = 2100.0
rate = 48000
[nodes.slow]
run = "tests.runs.sound_nodes:tones"
hz = 200.0
rate = 1000
[nodes.listener]
run = "tests.runs.sound_nodes:listener"
[edges]
"whole.sounds" = "listener.pcm"
"stereo.sounds" = "listener.tones"
"slow.sounds" = "listener.tones"
"""
HEARD_HZ = 32_000
LISTEN = """() => {
  const start = AudioBufferSourceNode.prototype.start;
  AudioBufferSourceNode.prototype.start = function (...when) {
    if (this.context instanceof AudioContext) window.heard = { buffer: this.buffer, speed: this.playbackRate.value };
    return start.apply(this, when);
  };
}"""
# What a listener gets at the end of the browser's own audio graph, a channel a row.
RENDERED = """async (rate) => {
  const { buffer, speed } = window.heard;
  const context = new OfflineAudioContext(buffer.numberOfChannels, rate / 4, rate);
  const source = context.createBufferSource();
  source.buffer = buffer;
  source.playbackRate.value = speed;
  source.connect(context.destination);
  source.start();
  const found = await context.startRendering();
  return Array.from({ length: found.numberOfChannels }, (_, row) => Array.from(found.getChannelData(row)));
}"""
# Of each column of the canvas, which rows are painted in the waveform's colour.
PAINTED = """(canvas) => {
  const { width, height } = canvas;
  const shown = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--busy").trim();
  probe.fillRect(0, 0, 1, 1);
  const ink = probe.getImageData(0, 0, 1, 1).data;
  return Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => {
    const at = 4 * (y * width + x);
    return [0, 1, 2].every((each) => Math.abs(shown[at + each] - ink[each]) < 40) && shown[at + 3] > 200;
  }));
}"""


def loudest_hz(row: list[float]) -> float:
    spectrum = np.abs(np.fft.rfft(np.asarray(row) * np.hanning(len(row))))
    return float(np.argmax(spectrum) * HEARD_HZ / len(row))


@in_browser
def test_a_tone_is_drawn_and_heard_as_it_passes(home: Home):
    running = home.start(GRAPH)
    running.until(lambda: len(running.ledger()) == len(SOUNDS), "all edges")
    with web_of(home, running.run) as web, page_of(web) as page:
        page.evaluate(LISTEN)
        page.wait_for_selector("#graph .node")
        for node, tones in SOUNDS.items():
            page.click(f"#graph .node[aria-label={node}]")
            page.click(".ports button[data-port=sounds]")
            page.wait_for_selector(".sample canvas.wave")
            page.wait_for_selector(f".sample .field:has-text('{'stereo' if len(tones) > 1 else 'mono'} at')")
            painted = np.array(page.evaluate(PAINTED, page.query_selector(".sample canvas.wave")))
            # Of a tone at half of full scale, each channel's middle half is painted from side to side, and no more.
            for channel in np.array_split(painted, len(tones)):
                rows = np.flatnonzero(channel.any(axis=1)) / len(channel)
                assert abs(rows.min() - 0.25) < 0.12, (node, rows)
                assert abs(rows.max() - 0.75) < 0.12, (node, rows)
                assert channel.any(axis=0).mean() > 0.98, node
            page.locator(".sample button.play").evaluate("(button) => button.click()")
            heard = page.evaluate(RENDERED, HEARD_HZ)
            for row, hz in zip(heard, tones, strict=True):
                assert abs(loudest_hz(row) - hz) < 3, (node, loudest_hz(row))
                assert 0.4 < max(row) < 0.6, node
            page.keyboard.press("Escape")
    ended(running)
