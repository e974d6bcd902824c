"use strict";
// The page: controls to a question, the answers to what is shown.  Nothing is predicted here.

const $ = (id) => document.getElementById(id);
const page = crypto.randomUUID();
const plots = new Plots();
const state = { start: null, changed: {}, calibration: null, preview: null, shown: null, asking: null, times: [], tried: [] };

const STEPS = 240;

/** Where on a slider of STEPS a value lies, and back. */
function toSlider(control, value) {
  const v = Math.min(Math.max(value, control.low), control.high);
  if (control.kind === "log") return Math.round((STEPS * Math.log(v / control.low)) / Math.log(control.high / control.low));
  return Math.round((STEPS * (v - control.low)) / (control.high - control.low));
}
function fromSlider(control, at) {
  const part = at / STEPS;
  const value = control.kind === "log" ? control.low * (control.high / control.low) ** part : control.low + (control.high - control.low) * part;
  if (control.step) return Math.round(value / control.step) * control.step;
  return Number(value.toPrecision(2));
}

const value = (key) => (key in state.changed ? state.changed[key] : state.start.values[key]);

function change(key, to) {
  if (to === state.start.values[key]) delete state.changed[key];
  else state.changed[key] = to;
  paint();
  ask();
}

/** One control: a label, a field, and a slider where it has one. */
function build(control) {
  const box = document.createElement("div");
  box.className = "control";
  box.dataset.key = control.key;
  const id = control.key.replaceAll(".", "-");
  const label = document.createElement("label");
  label.htmlFor = id;
  label.textContent = control.label;
  if (control.unit) {
    const unit = document.createElement("span");
    unit.className = "unit";
    unit.textContent = ` ${control.unit}`;
    label.append(unit);
  }
  label.title = control.off || control.help;
  box.append(label);
  if (control.kind === "choice") {
    const list = document.createElement("select");
    list.id = id;
    list.replaceChildren(...control.choices.map((word) => new Option(word)));
    list.disabled = Boolean(control.off) || control.choices.length < 2;
    list.addEventListener("change", () => change(control.key, list.value));
    box.append(list);
    return box;
  }
  const field = document.createElement("input");
  field.type = "number";
  field.id = id;
  field.step = "any";
  field.disabled = Boolean(control.off);
  field.addEventListener("change", () => {
    if (field.value === "" && control.kind !== "number") return paint();
    change(control.key, field.value === "" ? null : field.valueAsNumber);
  });
  box.append(field);
  if (control.kind !== "number") {
    const slider = document.createElement("input");
    slider.type = "range";
    slider.min = 0;
    slider.max = STEPS;
    slider.disabled = Boolean(control.off);
    slider.setAttribute("aria-label", `${control.label}, slider`);
    slider.addEventListener("input", () => {
      let to = fromSlider(control, slider.valueAsNumber);
      // A step of the keyboard that rounds to the same value goes on to the next one.
      const was = Number(slider.dataset.at);
      if (to === value(control.key) && slider.valueAsNumber !== was) to += Math.sign(slider.valueAsNumber - was) * (control.step || 0);
      slider.dataset.at = slider.valueAsNumber;
      change(control.key, Math.min(Math.max(to, control.low), control.high));
    });
    box.append(slider);
  }
  return box;
}

/** Puts the values into the controls. */
function paint() {
  for (const control of state.start.controls) {
    const box = document.querySelector(`.control[data-key="${control.key}"]`);
    const now = value(control.key);
    const field = box.querySelector("select, input[type=number]");
    field.value = now === null ? "" : control.kind === "choice" ? now : Number(Number(now).toPrecision(6));
    const slider = box.querySelector("input[type=range]");
    if (slider) {
      // Only where it does not mean that value already: a step of the keyboard shall not be taken back by rounding.
      if (document.activeElement !== slider || fromSlider(control, slider.valueAsNumber) !== now) slider.value = toSlider(control, now);
      slider.dataset.at = slider.value;
      slider.setAttribute("aria-valuetext", `${number(now)} ${control.unit}`.trim());
    }
    box.toggleAttribute("data-changed", control.key in state.changed);
    box.hidden = control.needs[0] !== "" && value(control.needs[0]) !== control.needs[1];
  }
  $("calibration").value = state.calibration ?? "";
}

/** What is asked: settings that mean nothing beside the others are left out. */
function question() {
  const values = {};
  for (const [key, to] of Object.entries(state.changed)) {
    const needs = state.start.controls.find((c) => c.key === key).needs;
    if (needs[0] === "" || value(needs[0]) === needs[1]) values[key] = to;
  }
  return { page, preset: state.start.preset, values, calibration: state.calibration };
}

const post = (path, said, signal) => fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said), signal });

/** Asks, and shows what comes: the preview, how far the full run is, the full run. */
async function ask(anyway = false) {
  state.asking?.abort();
  const mine = (state.asking = new AbortController());
  const asked = question();
  const began = performance.now();
  document.body.toggleAttribute("data-stale", true);
  location.replace(`#${encodeURIComponent(JSON.stringify({ preset: asked.preset, values: asked.values, calibration: asked.calibration }))}`);
  try {
    const reply = await post("/simulate", { ...asked, anyway }, mine.signal);
    if (!reply.ok) throw new Error(await reply.text());
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value: text, done } = await reader.read();
      if (done) break;
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines) if (mine === state.asking) take(JSON.parse(line), asked, began);
    }
  } catch (error) {
    if (mine === state.asking && error.name !== "AbortError") wrong({ message: `the server does not answer: ${error.message}`, keys: [] });
  }
}

function take(told, asked, began) {
  if (told.command) $("command").textContent = told.command;
  if (told.kind === "preview") {
    state.preview = told;
    show(told, null);
    // Drawn, not only computed: the second frame comes after the first was painted.
    requestAnimationFrame(() => requestAnimationFrame(() => {
      state.times.push(performance.now() - began);
      document.body.dataset.previewMs = state.times.at(-1).toFixed(1);
      document.body.dataset.previews = state.times.length;
      if (state.shown === told) $("horizon").textContent += `; drawn after ${Math.round(state.times.at(-1))} ms`;
    }));
    badge("preview", `preview: ${number(told.simulated_s)} s of ${number(told.of_s)} s of load; the full run is under way`);
    $("progress").hidden = false;
    $("progress").value = 0;
  } else if (told.kind === "progress") {
    $("progress").value = told.done;
  } else if (told.kind === "full") {
    show(told, told.off ? state.preview : null);
    badge("full", `full run: ${number(told.of_s)} s of load, ${told.records.toLocaleString("en-US")} records, simulated in ${number(told.took_s)} s${told.off ? "" : "; short enough to need no preview"}`);
    $("progress").hidden = true;
    remember(told, asked);
  } else if (told.kind === "held") {
    $("progress").hidden = true;
    $("anyway").hidden = false;
    badge("preview", `preview only: the full run would have ${number(told.records / 1e6)} million records`);
  } else if (told.kind === "wrong") wrong(told);
}

function badge(kind, text) {
  $("badge").className = `badge ${kind}`;
  $("badge").textContent = kind === "full" ? "full run" : kind;
  $("horizon").textContent = text;
  if (kind !== "preview" || !text.startsWith("preview only")) $("anyway").hidden = true;
}

function wrong(told) {
  $("wrong").textContent = told.message;
  $("wrong").hidden = false;
  $("progress").hidden = true;
  badge("wrong", "not predicted; what is shown is of the last settings that were");
  document.querySelectorAll(".control").forEach((box) => box.toggleAttribute("data-wrong", told.keys.includes(box.dataset.key)));
}

const percent = (part) => `${number(100 * part)} %`;
const signed = (part) => (part === null ? "-" : `${part > 0 ? "+" : ""}${number(100 * part)} %`);
const offHtml = (row) => (row.relative === null ? "-" : signed(row.relative));

function cell(text, name = "") {
  const found = document.createElement("td");
  found.textContent = text;
  found.className = name;
  return found;
}

/** A run: verdict, SLO, bottleneck, cost, figures, plots; beside it the preview it replaces. */
function show(run, preview) {
  state.shown = run;
  document.body.toggleAttribute("data-stale", false);
  $("wrong").hidden = true;
  document.querySelectorAll(".control[data-wrong]").forEach((box) => box.removeAttribute("data-wrong"));
  $("verdict").textContent = run.verdict;
  $("verdict").className = run.verdict;
  $("why").textContent = run.why;
  $("slo").replaceChildren(...(run.slo.length ? run.slo.map((s) => {
    const line = document.createElement("div");
    line.className = s.ok ? "ok" : "broken";
    line.textContent = `${s.ok ? "✓ met" : "✗ broken"}: ${s.text}, ${s.said}`;
    return line;
  }) : ["none; give one on the left"]));
  const b = run.bottleneck;
  $("bottleneck").textContent = `${b.name}${b.count > 1 ? ` (${b.count})` : ""}, ${percent(b.utilisation)} ${b.occupied ? "occupied" : "busy"}; ${b.saturated ? "it limits the pipeline" : "nothing is at its limit"}`;
  cost();
  const notes = [...run.notes_more, ...run.notes];
  $("notes").textContent = notes.map((n) => `note: ${n}`).join("\n");
  $("notes").hidden = !notes.length;
  const rows = run.off ? run.off.rows : Object.entries(run.metrics).map(([metric, at]) => ({ metric, [run.kind]: at }));
  const labels = { throughput_per_s: "throughput, /s", latency_p50: "p50, ms", latency_p95: "p95, ms", latency_p99: "p99, ms", lag_slope_per_s: "lag grows by, /s" };
  $("figures").tBodies[0].replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.className = "l";
    head.textContent = labels[row.metric];
    const far = row.relative !== null && Math.abs(row.relative) > 0.1 ? "far" : "";
    line.append(head, cell(number(row.preview)), cell(run.kind === "full" ? number(row.full) : "…"), cell(run.off ? offHtml(row) : "", far));
    return line;
  }));
  $("off").textContent = run.off ? offText(run, preview) : "";
  $("busy").replaceChildren(...run.busy.map((row) => {
    const line = document.createElement("div");
    const limits = row.limits && row.name === b.name;
    line.className = limits ? "limit" : "";
    const [name, bar, share] = [document.createElement("span"), document.createElement("i"), document.createElement("span")];
    name.textContent = `${row.name}${row.count > 1 ? ` (${row.count})` : ""}`;
    bar.append(document.createElement("b"));
    bar.firstChild.style.width = `${Math.min(100, 100 * row.utilisation)}%`;
    share.textContent = percent(row.utilisation);
    line.append(name, bar, share);
    return line;
  }));
  $("trust").textContent = run.trust;
  plots.show(run, preview);
}

function offText(run, preview) {
  const worst = run.off.rows.filter((r) => r.relative !== null).sort((a, b) => Math.abs(b.relative) - Math.abs(a.relative))[0];
  const verdicts = run.off.same_verdict ? "the verdict was the same" : `the preview said ${preview.verdict}`;
  return `The preview (${number(preview.simulated_s)} s of ${number(run.of_s)} s) was off by at most ${worst ? `${signed(worst.relative)} (${worst.label.split(",")[0]})` : "nothing that can be told"}; ${verdicts}.`;
}

const hourly = (run) => run.workers * ($("price").valueAsNumber || 0);

function cost() {
  const run = state.shown;
  if (!run) return;
  const hour = hourly(run), per = run.metrics.throughput_per_s ? hour / (run.metrics.throughput_per_s * 3600) * 1e6 : null;
  $("cost").textContent = `${hour.toFixed(2)} an hour for ${run.workers} worker${run.workers === 1 ? "" : "s"}${per === null ? "" : `, ${number(per)} a million records`}`;
}

/** A line of what was tried, the last first; the same settings stand once. */
function remember(run, asked) {
  const key = JSON.stringify([asked.preset, asked.values, asked.calibration]);
  const changed = Object.entries(asked.values).map(([k, v]) => `${state.start.controls.find((c) => c.key === k).label} ${v === null ? "none" : typeof v === "number" ? number(v) : v}`);
  if (asked.calibration) changed.push(asked.calibration);
  state.tried = [{ key, asked, run, said: changed.join(", ") || "as in the file" }, ...state.tried.filter((t) => t.key !== key)].slice(0, 30);
  $("tried").hidden = false;
  triedTable();
}

function triedTable() {
  $("tried").querySelector("tbody").replaceChildren(...state.tried.map((t) => {
    const line = document.createElement("tr");
    const back = document.createElement("button");
    back.type = "button";
    back.textContent = "back to it";
    back.setAttribute("aria-label", `back to ${t.said}`);
    back.addEventListener("click", () => {
      state.changed = { ...t.asked.values };
      state.calibration = t.asked.calibration;
      paint();
      ask();
    });
    const p99 = t.run.off?.rows.find((r) => r.metric === "latency_p99");
    const last = cell("");
    last.append(back);
    const slo = t.run.slo.length ? (t.run.slo.every((s) => s.ok) ? ", SLO met" : ", SLO broken") : "";
    line.append(cell(t.said, "l"), cell(t.run.verdict + slo, `l ${slo.endsWith("broken") ? "broken" : t.run.verdict}`), cell(number(t.run.metrics.throughput_per_s)), cell(number(t.run.metrics.latency_p99)), cell(hourly(t.run).toFixed(2)), cell(p99 ? offHtml(p99) : "-"), last);
    return line;
  }));
}

/** Begins with a scenario: its controls, its values, the first question. */
async function begin(preset, with_ = {}) {
  const reply = await fetch(`/start?preset=${encodeURIComponent(preset)}`);
  if (!reply.ok) return wrong({ message: await reply.text(), keys: [] });
  state.start = await reply.json();
  state.changed = { ...with_.values };
  state.calibration = with_.calibration ?? null;
  state.tried = [];
  $("tried").hidden = true;
  $("tried").querySelector("tbody").replaceChildren();
  badge("waiting", "");
  $("name").textContent = state.start.name;
  document.title = `Weir: ${state.start.name}`;
  $("file").textContent = state.start.file;
  $("preset").replaceChildren(...state.start.presets.map((p) => new Option(p.label, p.key, false, p.key === preset)));
  $("settings").replaceChildren(...state.start.controls.map(build));
  $("calibration").replaceChildren(new Option("as the scenario says", ""), ...state.start.calibrations.map((word) => new Option(word)));
  paint();
  return ask();
}

async function yaml() {
  const reply = await post("/scenario", question());
  const text = await reply.text();
  if (reply.ok) return text;
  wrong({ message: text, keys: [] });
  return null;
}

$("preset").addEventListener("change", () => begin($("preset").value));
$("calibration").addEventListener("change", () => { state.calibration = $("calibration").value || null; ask(); });
$("price").addEventListener("input", () => { cost(); triedTable(); });
$("reset").addEventListener("click", () => { state.changed = {}; state.calibration = null; paint(); ask(); });
$("anyway").addEventListener("click", () => ask(true));
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("copy").addEventListener("click", async () => {
  const text = await yaml();
  if (text === null) return;
  await navigator.clipboard.writeText(text);
  $("copy").textContent = "Copied";
  setTimeout(() => { $("copy").textContent = "Copy as YAML"; }, 1500);
});

function save(text, name, kind) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
$("save").addEventListener("click", async (event) => {
  event.preventDefault();
  const text = await yaml();
  if (text !== null) save(text, `${state.start.name}.yaml`, "application/yaml");
});
document.querySelectorAll(".csv").forEach((link) => link.addEventListener("click", (event) => {
  event.preventDefault();
  save(plots.csv(link.dataset.of), `${state.start.name}-${link.dataset.of}.csv`, "text/csv");
}));

let kept = {};
try { kept = JSON.parse(decodeURIComponent(location.hash.slice(1)) || "{}"); } catch { /* not of ours */ }
begin(kept.preset ?? "", kept);
