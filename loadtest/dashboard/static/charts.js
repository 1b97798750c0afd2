// Charts over replayed time as SVG, drawn anew at every update; sizes never depend on the data.

const NS = "http://www.w3.org/2000/svg";
const LEFT = 46, RIGHT = 10, TOP = 8, BOTTOM = 24;

export function element(name, attributes, ...children) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Round steps that divide [low, high] into about `count` parts. */
export function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(+(i * step).toPrecision(12));
  return found;
}

/** A figure with one plot: keeps size, cursor and the words for screen readers. */
class Plot {
  constructor(id, { redraw, readout, points }) {
    this.figure = document.getElementById(id);
    this.place = this.figure.querySelector(".plot");
    this.height = +this.place.dataset.height;
    this.line = this.figure.querySelector(".readout");
    this.svg = element("svg", { height: this.height, role: "img", tabindex: "0" });
    this.place.append(this.svg);
    this.cursor = null;
    this.readout = readout;
    this.points = points;
    this.redraw = redraw;
    new ResizeObserver(() => this.redraw()).observe(this.place);
    this.svg.addEventListener("pointermove", (event) => {
      const { left } = this.svg.getBoundingClientRect();
      this.moveTo((event.clientX - left - LEFT) / this.inner);
    });
    this.svg.addEventListener("pointerleave", () => this.moveTo(null));
    this.svg.addEventListener("blur", () => this.moveTo(null));
    this.svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const many = this.points();
      if (!step || !many) return;
      event.preventDefault();
      this.cursor = Math.min(many - 1, Math.max(0, (this.cursor ?? many) + step));
      this.redraw();
    });
  }
  get width() { return Math.max(200, this.place.clientWidth); }
  get inner() { return this.width - LEFT - RIGHT; }
  get bottom() { return this.height - BOTTOM; }
  moveTo(share) {
    const many = this.points();
    this.cursor = share === null || share < 0 || share > 1 || !many ? null : this.at(share, many);
    this.redraw();
  }
  at(share, many) { return Math.min(many - 1, Math.floor(share * many)); }
  fill(parts, words) {
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.setAttribute("aria-label", words);
    this.svg.replaceChildren(...parts);
    this.line.textContent = this.cursor === null ? "" : this.readout(this.cursor);
  }
  yAxis(marks, y, format) {
    return marks.flatMap((mark) => [
      element("line", { class: "grid", x1: LEFT, x2: this.width - RIGHT, y1: y(mark), y2: y(mark) }),
      element("text", { x: LEFT - 8, y: y(mark) + 4, "text-anchor": "end" }, format(mark)),
    ]);
  }
}

/** Lines, or stacked bars, over replayed time, with the cloud's absences shaded. */
export class TimeChart {
  constructor(id, options) {
    this.options = options;
    this.rows = [];
    this.end = 1;
    this.step = 1;
    this.plot = new Plot(id, {
      redraw: () => this.draw(),
      readout: (i) => `${clock(this.rows[i].t)}: ${options.words(this.rows[i])}`,
      points: () => this.rows.length,
    });
    this.plot.at = (share, many) => Math.min(many - 1, Math.floor((share * this.end) / this.step));
  }
  update(state) {
    this.rows = state.rows;
    this.step = state.facts.width_s;
    this.end = Math.max(state.facts.window_s, state.rows.length * this.step, this.step);
    this.now = state;
    this.draw();
  }
  draw() {
    const { plot, rows, options } = this;
    const top = TOP + (options.strip ? 14 : 0);
    const x = (t) => LEFT + (t / this.end) * plot.inner;
    const wide = Math.max(0.5, plot.inner * (this.step / this.end));
    const { low, high, marks, scale } = this.range();
    const y = (v) => plot.bottom - ((scale(v) - scale(low)) / (scale(high) - scale(low))) * (plot.bottom - top);
    const parts = [];
    for (const { from, to, share } of absences(rows)) {
      const place = { x: x(from), width: x(to + this.step) - x(from) };
      parts.push(element("rect", { class: "outage", ...place, y: top, height: plot.bottom - top, opacity: share }));
    }
    parts.push(...plot.yAxis(marks, y, options.format));
    if (options.strip) parts.push(...this.strip(x));
    for (const mark of ticks(0, this.end, plot.width < 500 ? 4 : 8)) {
      parts.push(element("text", { x: x(mark), y: plot.height - 6, "text-anchor": mark ? "middle" : "start" }, mark || plot.width < 500 ? `${mark} s` : "0 s"));
    }
    parts.push(element("line", { class: "base", x1: LEFT, x2: plot.width - RIGHT, y1: plot.bottom, y2: plot.bottom }));
    if (options.stack) parts.push(...this.bars(x, y, wide));
    for (const { key, kind } of options.lines ?? []) {
      parts.push(element("path", { class: kind, d: this.path(key, (t) => x(t + this.step / 2), y) }));
    }
    if (plot.cursor !== null && rows[plot.cursor]) {
      const at = x(rows[plot.cursor].t + this.step / 2);
      parts.push(element("line", { class: "cursor", x1: at, x2: at, y1: TOP, y2: plot.bottom }));
    }
    plot.fill(parts, this.now ? options.summary(this.now) : "No figures yet.");
  }
  path(key, x, y) {
    let d = "", pen = "M";
    for (const row of this.rows) {
      const value = row[key];
      if (value === null) { if (!this.options.bridge) pen = "M"; continue; }
      d += `${pen}${x(row.t).toFixed(1)},${y(value).toFixed(1)}`;
      pen = "L";
    }
    return d;
  }
  bars(x, y, wide) {
    return this.rows.flatMap((row) => {
      let below = 0;
      return this.options.stack.filter((name) => row.refreshes[name]).map((name) => {
        const above = below + row.refreshes[name];
        const bar = element("rect", { class: `o-${name}`, x: x(row.t), width: Math.max(0.5, wide - 0.6), y: y(above), height: y(below) - y(above) });
        below = above;
        return bar;
      });
    });
  }
  strip(x) {
    const parts = [element("text", { x: LEFT - 8, y: TOP + 9, "text-anchor": "end" }, "cloud")];
    for (const row of this.rows) {
      if (row.up === null) continue;
      const [from, width] = [x(row.t), x(row.t + this.step) - x(row.t) + 0.3];
      // Full height while it is there, a thin line while it is away: told apart without colour.
      const up = row.up >= 0.5;
      parts.push(element("rect", { class: up ? "present" : "away", x: from, width, y: up ? TOP : TOP + 7, height: up ? 9 : 2 }));
    }
    return parts;
  }
  range() {
    const { lines, stack, log, floor, span } = this.options;
    const values = stack
      ? this.rows.map((row) => stack.reduce((sum, name) => sum + (row.refreshes[name] ?? 0), 0))
      : this.rows.flatMap((row) => lines.map(({ key }) => row[key]).filter((v) => v !== null));
    if (log) {
      const low = 10 ** Math.floor(Math.log10(Math.min(1, ...values)));
      const high = 10 ** Math.ceil(Math.log10(Math.max(10, ...values) * 1.0001));
      const marks = [];
      for (let mark = low; mark <= high * 1.001; mark *= 10) marks.push(mark);
      return { low, high, marks, scale: Math.log10 };
    }
    let [low, high] = [floor ?? Math.min(...values), Math.max(...values, floor ?? -Infinity)];
    if (!Number.isFinite(low) || !Number.isFinite(high)) [low, high] = [0, 1];
    const room = Math.max(span - (high - low), 0) / 2 + 0.06 * (high - low);
    if (floor === undefined) low = Math.max(0, low - room);
    high += room;
    return { low, high, marks: ticks(low, high, 4), scale: (v) => v };
  }
}

/** Two bars per class: shares of a window and of the whole run. */
export class ShareChart {
  constructor(id, { classes, label }) {
    this.classes = classes;
    this.label = label;
    this.recent = this.total = {};
    this.plot = new Plot(id, {
      redraw: () => this.draw(),
      readout: (i) => this.words(this.classes[i]),
      points: () => this.classes.length,
    });
  }
  update(recent, total) {
    [this.recent, this.total] = [recent, total];
    this.draw();
  }
  share(counts, name) {
    const sum = Object.values(counts).reduce((a, b) => a + b, 0);
    return sum ? (counts[name] ?? 0) / sum : 0;
  }
  words(name) {
    const percent = (counts) => `${(100 * this.share(counts, name)).toFixed(1)} %`;
    return `${this.label(name)}: ${percent(this.recent)} of the last answers, ${percent(this.total)} of all`;
  }
  draw() {
    const { plot, classes } = this;
    const y = (share) => plot.bottom - share * (plot.bottom - TOP);
    const slot = plot.inner / classes.length;
    const bar = Math.min(34, slot * 0.36);
    const parts = plot.yAxis([0, 0.25, 0.5, 0.75, 1], y, (v) => `${100 * v} %`);
    classes.forEach((name, i) => {
      const middle = LEFT + (i + 0.5) * slot;
      [[this.recent, "calibrated", -bar], [this.total, "whole", 0]].forEach(([counts, kind, shift]) => {
        const top = y(this.share(counts, name));
        parts.push(element("rect", { class: kind, x: middle + shift, width: bar - 1, y: top, height: plot.bottom - top }));
      });
      parts.push(element("text", { x: middle, y: plot.height - 6, "text-anchor": "middle" }, name));
    });
    parts.push(element("line", { class: "base", x1: LEFT, x2: plot.width - RIGHT, y1: plot.bottom, y2: plot.bottom }));
    plot.fill(parts, `Snapshot age in events. ${classes.map((name) => this.words(name)).join("; ")}.`);
  }
}

/** Stretches of bins in which the cloud was away for some or all of the time. */
function absences(rows) {
  const found = [];
  for (const { t, up } of rows) {
    if (up === null || up === 1) continue;
    const last = found.at(-1);
    if (last && last.open === t && last.share === 1 - up) last.to = t;
    else found.push({ from: t, to: t, share: 1 - up });
    found.at(-1).open = t + (rows.length > 1 ? rows[1].t - rows[0].t : 0);
  }
  return found;
}

export function clock(seconds) {
  const whole = Math.floor(seconds);
  return whole < 60 ? `${+seconds.toFixed(1)} s` : `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
}
