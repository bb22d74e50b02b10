/* Draws elements with `data-chart`: an address of [[seconds, value], ...] enters, a uPlot line leaves, fresh with every `live` event. */
"use strict";
(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const money = (value, digits) => value.toLocaleString("en", { maximumFractionDigits: digits });
  const clock = (at, step) => new Date(at * 1000).toISOString().slice(step < 86400 ? 11 : 5, step < 60 ? 19 : step < 86400 ? 16 : 10);
  const FRESH_MS = 3000;

  const options = (element) => ({
    width: element.clientWidth, height: element.clientHeight - 34, cursor: { y: false }, legend: { live: true },
    axes: [
      { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, space: 76, values: (_, ticks, __, ___, step) => ticks.map((at) => clock(at, step)) },
      { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, size: 84, values: (_, ticks) => ticks.map((value) => money(value, 2)) },
    ],
    series: [
      { label: "UTC", value: (plot, at) => new Date((at ?? plot.data[0].at(-1)) * 1000).toISOString().slice(0, 19).replace("T", " ") },
      { label: element.dataset.label, stroke: colour("--brand"), width: 2, fill: colour("--brand-soft"), points: { show: true, size: 5 },
        value: (plot, value) => money(value ?? plot.data[1].at(-1), 2) },
    ],
    scales: { y: { range: (_, low, high) => { const room = Math.max((high - low) * 0.15, Math.abs(high) * 1e-5, 0.01); return [low - room, high + room]; } } },
  });

  const keep = (element, points) => {
    const known = element.points ?? new Map();
    for (const [at, value] of points) known.set(at, value);
    element.points = known;
    const times = [...known.keys()].sort((one, other) => one - other);
    return [times, times.map((at) => known.get(at))];
  };

  const draw = async (element) => {
    if (element.asked && Date.now() - element.asked < FRESH_MS) return;
    element.asked = Date.now();
    let answer;
    try { answer = await fetch(element.dataset.chart, { headers: { Accept: "application/json" } }); } catch { return; }
    if (!answer.ok) return;
    const data = keep(element, await answer.json());
    if (!data[0].length) { element.textContent = "No equity was reported yet."; return; }
    if (element.plot) { element.plot.setData(data); return; }
    element.textContent = "";
    element.plot = new uPlot(options(element), data, element);
    new ResizeObserver(() => element.plot.setSize({ width: element.clientWidth, height: element.clientHeight - 34 })).observe(element);
  };

  const all = () => document.querySelectorAll("[data-chart]").forEach(draw);
  document.addEventListener("DOMContentLoaded", all);
  document.body?.addEventListener("live", all);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.querySelectorAll("[data-chart]").forEach((element) => {
    element.plot?.destroy(); element.plot = null; element.asked = 0; draw(element);
  }));
})();
