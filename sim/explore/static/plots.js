"use strict";
// Four small plots on uPlot.  Colours are read from the page's style, so both themes have their own.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const HEIGHT = 210;

/** A number to three digits, thousands grouped; "-" for nothing. */
function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "-";
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString("en-US");
  if (size !== 0 && size < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

/** How a quantile is told: 0.999 as p99.9. */
const quantile = (q) => "p" + Number((100 * q).toFixed(3));
/** As `number`, short enough for an axis: 30k for 30,000. */
const short = (v) => (Math.abs(v) >= 1e6 ? `${number(v / 1e6)}M` : Math.abs(v) >= 1e4 ? `${number(v / 1e3)}k` : number(v));
const nines = (q) => -Math.log10(1 - q);
const fromNines = (x) => 1 - 10 ** -x;
const QUANTILE_TICKS = [0.5, 0.9, 0.99, 0.999, 0.9999].map(nines);

class Plots {
  constructor() {
    this.shown = {};
    this.data = {};
    const again = () => Object.keys(this.data).forEach((id) => this.draw(id, this.data[id]));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    new ResizeObserver(() => Object.entries(this.shown).forEach(([id, plot]) => plot.setSize(this.size(id)))).observe(document.body);
  }

  size(id) {
    return { width: Math.max(200, document.getElementById(id).clientWidth), height: HEIGHT };
  }

  /** One plot: x, and series of {label, values, colour, dash, width}. */
  draw(id, plot) {
    this.data[id] = plot;
    const place = document.getElementById(id);
    const marks = JSON.stringify([plot.series.map((s) => [s.label, s.colour, s.dash]), plot.log, css("--ink")]);
    const columns = [plot.x, ...plot.series.map((s) => s.values)];
    const last = plot.series.map((s) => `${s.label} ${number(s.values.filter((v) => v !== null).at(-1))}`).join(", ");
    place.setAttribute("aria-label", `${plot.title}; at the right end: ${last}`);
    if (this.shown[id] && place.dataset.marks === marks) {
      this.shown[id].setData(columns);
      return;
    }
    this.shown[id]?.destroy();
    place.dataset.marks = marks;
    const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 0.6 }, ticks: { stroke: css("--line"), width: 0.6 } };
    this.shown[id] = new uPlot({
      ...this.size(id),
      scales: { x: { time: false }, y: plot.log ? { distr: 3 } : { range: (_u, _low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      axes: [
        { ...axis, size: 34, ...(plot.quantiles ? { splits: () => QUANTILE_TICKS, values: (_u, at) => at.map((x) => quantile(fromNines(x))), filter: (_u, at) => at } : { values: (_u, at) => at.map((x) => `${number(x)} s`) }) },
        { ...axis, size: 58, values: (_u, at) => at.map((v) => (v === null ? "" : short(v))) },
      ],
      series: [
        { label: plot.quantiles ? "quantile" : "at", value: (_u, x) => (x === null ? "" : plot.quantiles ? quantile(fromNines(x)) : `${number(x)} s`) },
        ...plot.series.map((s) => ({ label: s.label, stroke: css(s.colour), width: s.width ?? 1.8, dash: s.dash, points: { show: false }, spanGaps: true, value: (_u, v) => (v === null || v === undefined ? "" : number(v)) })),
      ],
      cursor: { drag: { x: false, y: false } },
    }, columns, place);
  }

  /** What a plot shows, as text of comma-separated values. */
  csv(id) {
    const plot = this.data[id];
    if (!plot) return "";
    const head = [plot.quantiles ? "quantile" : "seconds", ...plot.series.map((s) => s.label)];
    const rows = plot.x.map((x, i) => [plot.quantiles ? Number(fromNines(x).toFixed(6)) : x, ...plot.series.map((s) => s.values[i] ?? "")]);
    return [head.map((word) => `"${word}"`), ...rows].map((row) => row.join(",")).join("\r\n") + "\r\n";
  }

  /** All four, of a run and, where there is one, the preview before it. */
  show(run, preview) {
    const line = run.slo.map((s) => s.line_ms).find((v) => v !== null && v !== undefined);
    const slo = (n) => (line === undefined ? [] : [{ label: "SLO", values: Array(n).fill(line), colour: "--bad", dash: [2, 4], width: 1.6 }]);
    const full = run.kind === "full";
    const name = full ? "full run" : "preview";
    const dash = full ? undefined : [7, 4];
    const pairs = [{ label: name, of: run, colour: "--one", dash }];
    if (preview) pairs.push({ label: "preview", of: preview, colour: "--two", dash: [7, 4] });
    const qs = [...new Set(pairs.flatMap((p) => p.of.latency.q))].sort((a, b) => a - b);
    const at = (p) => { const found = new Map(p.of.latency.q.map((q, i) => [q, p.of.latency.ms[i]])); return qs.map((q) => found.get(q) ?? null); };
    this.draw("latency", { title: "Latency by quantile, ms", x: qs.map(nines), quantiles: true, log: true, series: [...pairs.map((p) => ({ ...p, values: at(p) })), ...slo(qs.length)] });
    const t = run.time;
    this.draw("times", { title: "Latency over the load, ms", x: t.s, log: true, series: [{ label: "p50", values: t.p50, colour: "--one", dash }, { label: "p99", values: t.p99, colour: "--two", dash }, ...slo(t.s.length)] });
    this.draw("rates", { title: "Records a second", x: t.s, series: [{ label: "offered", values: t.in, colour: "--two", dash }, { label: "out", values: t.out, colour: "--one", dash }] });
    this.draw("lag", { title: "Records in the system", x: t.s, series: [{ label: "records", values: t.lag, colour: "--three", dash }] });
  }
}
