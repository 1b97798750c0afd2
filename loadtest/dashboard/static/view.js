// Fills the page from the stream of figures, and sends what its controls ask for.
import { ShareChart, TimeChart, clock } from "./charts.js";

const $ = (id) => document.getElementById(id);
const token = document.querySelector("meta[name=token]").content;
const OUTCOMES = ["fresh", "unstored", "stale", "deadline", "refused", "network", "server", "rejected", "breaker"];
const NONE = "–";

const count = (n) => n.toLocaleString("en");
const percent = (share, digits = 1) => (share === null ? NONE : `${(100 * share).toFixed(digits)} %`.replace("-", "−"));
const score = (v) => (v === null || v === undefined ? NONE : v.toFixed(4));
const figure = (v) => (v === null ? NONE : v < 9.995 ? v.toFixed(2) : v < 99.95 ? v.toFixed(1) : count(Math.round(v)));
const ms = (v) => (v === null ? NONE : `${figure(v)} ms`);
const signed = (v) => (Math.abs(v) < 5e-5 ? "0.0000" : `${v < 0 ? "−" : "+"}${Math.abs(v).toFixed(4)}`);
const ratio = (v) => (v === null ? NONE : v.toFixed(3));
const say = (id, text) => { const place = $(id); if (place.textContent !== text) place.textContent = text; };

const charts = [
  new TimeChart("chart-ndcg", {
    lines: [{ key: "alone", kind: "alone" }, { key: "uncalibrated", kind: "uncalibrated" }, { key: "calibrated", kind: "calibrated" }],
    span: 0.05, strip: true, format: (v) => v.toFixed(2),
    words: (r) => `calibrated ${score(r.calibrated)}, cached as it is ${score(r.uncalibrated)}, device without any cloud ${score(r.alone)} (${count(r.scored)} requests), cloud ${r.up === null ? NONE : r.up >= 0.5 ? "up" : "away"}`,
    summary: (s) => `NDCG at 10 over the last ${s.window_s} seconds: calibrated ${score(s.recent.calibrated)}, cached as it is ${score(s.recent.uncalibrated)}, device without any cloud ${score(s.recent.alone)}. Cloud ${away(s) ? "away" : "up"}.`,
  }),
  new TimeChart("chart-latency", {
    lines: [{ key: "p50", kind: "calibrated" }, { key: "p99", kind: "uncalibrated" }],
    log: true, bridge: true, format: plain,
    words: (r) => `p50 ${ms(r.p50)}, p99 ${ms(r.p99)} of ${count(r.n)} requests`,
    summary: (s) => `Request latency from the scheduled time, last ${s.window_s} seconds: median ${ms(s.recent.latency_ms.p50)}, 99th percentile ${ms(s.recent.latency_ms.p99)}.`,
  }),
  new TimeChart("chart-refresh", {
    lines: [{ key: "r50", kind: "calibrated" }, { key: "r95", kind: "uncalibrated" }],
    log: true, bridge: true, format: plain,
    words: (r) => `p50 ${ms(r.r50)}, p95 ${ms(r.r95)}`,
    summary: (s) => `Refresh latency, last ${s.window_s} seconds: median ${ms(s.recent.refresh_ms.p50)}, 95th percentile ${ms(s.recent.refresh_ms.p95)}.`,
  }),
  new TimeChart("chart-age", {
    lines: [{ key: "age50", kind: "calibrated" }, { key: "age90", kind: "uncalibrated" }],
    floor: 0, span: 1, bridge: true, format: plain,
    words: (r) => `median ${r.age50 === null ? NONE : clock(r.age50)}, 90th percentile ${r.age90 === null ? NONE : clock(r.age90)}`,
    summary: (s) => `Snapshot age, last ${s.window_s} seconds: median ${figure(s.recent.age_s.p50)} seconds, 90th percentile ${figure(s.recent.age_s.p90)} seconds.`,
  }),
  new TimeChart("chart-outcomes", {
    stack: OUTCOMES, floor: 0, span: 4, format: plain,
    words: (r) => OUTCOMES.filter((o) => r.refreshes[o]).map((o) => `${r.refreshes[o]} ${o}`).join(", ") || "none",
    summary: (s) => `Refreshes of the run: ${OUTCOMES.filter((o) => s.total.outcomes[o]).map((o) => `${s.total.outcomes[o]} ${o}`).join(", ") || "none"}.`,
  }),
];
const ages = new ShareChart("chart-ages", {
  classes: ["0", "1-2", "3-5", "6-10", "11+", "none"],
  label: (name) => (name === "none" ? "no snapshot" : `${name} events old`),
});

function plain(v) { return v >= 10000 ? `${count(v / 1000)}k` : v >= 1000 ? count(v) : String(+v.toPrecision(3)); }
function away(state) { return state.cloud_up < state.processes; }

function show(state) {
  showStatus(state);
  showControls(state);
  const before = state.status === "waiting" || state.status === "preparing";
  $("preparation").hidden = state.status !== "preparing";
  $("figures").hidden = state.status === "preparing";
  if (before) { showWorks(state.works ?? []); return; }
  const { recent, total, facts } = state;
  for (const place of document.querySelectorAll(".window")) place.textContent = `last ${state.window_s} s`;
  say("facts", [facts.log, `${count(state.devices)} devices`, facts.profile, facts.ranking && `ranking ${facts.ranking}`, facts.availability, `${facts.clock} clock`,
    state.processes > 1 ? `${state.processes} processes` : "", state.silent ? `${state.silent} not heard of lately` : "", facts.run].filter(Boolean).join(" · "));
  $("progress").value = Math.min(1, state.replay_s / Math.max(facts.window_s, 1e-9));
  const down = state.processes - state.cloud_up;
  say("cloud", down === 0 ? "up" : state.cloud_up === 0 ? "away" : `away for ${down} of ${state.processes}`);
  $("cloud").classList.toggle("away", down > 0);
  const links = state.breakers;
  const all = Object.values(links).reduce((a, b) => a + b, 0);
  say("breakers", `breakers: ${["open", "half-open"].filter((s) => links[s]).map((s) => `${links[s]} ${s}`).join(", ") || "all closed"} of ${count(all)} links`);
  for (const name of ["calibrated", "uncalibrated", "alone"]) say(`ndcg-${name}`, score(recent[name]));
  say("ndcg-total", total.calibrated === null
    ? `whole run: cached as it is ${score(total.uncalibrated)}, without any cloud ${score(total.alone)}`
    : `whole run: calibration ${signed(total.calibrated - total.uncalibrated)}, over no cloud ${signed(total.calibrated - total.alone)}`);
  say("answered", count(state.answered));
  say("answered-note", `of ${count(state.due)}; ${percent(total.requests ? total.from_snapshot / total.requests : null)} from a snapshot`);
  say("saved", percent(total.saved));
  say("saved-note", `${count(total.calls)} calls for ${count(total.requests)} requests`);
  say("p99", ms(recent.latency_ms.p99));
  say("latency-note", `p50 ${ms(recent.latency_ms.p50)}, p95 ${ms(recent.latency_ms.p95)}, from schedule`);
  say("refresh-p95", ms(recent.refresh_ms.p95));
  say("refresh-note", `p50 ${ms(recent.refresh_ms.p50)}, p99 ${ms(recent.refresh_ms.p99)}`);
  say("age", recent.age_s.p50 === null ? NONE : `${figure(recent.age_s.p50)} s`);
  say("age-note", `median; p90 ${recent.age_s.p90 === null ? NONE : `${figure(recent.age_s.p90)} s`}`);
  say("refused", count(total.refused));
  const lost = total.refreshes - (total.outcomes.fresh ?? 0) - (total.outcomes.stale ?? 0);
  say("refused-note", `${count(lost)} of ${count(total.refreshes)} refreshes failed; ${count(state.skipped)} skipped`);
  say("per-request", ratio(total.per_request) + (facts.budget === null ? "" : ` of ${facts.budget}`));
  say("policy", `${facts.k === null ? facts.policy : `every-k, k = ${state.wish.k}`}`);
  say("asked-note", `${ratio(total.answered_per_request)} answered, ${count(total.held_back)} held back by breakers`);
  for (const chart of charts) chart.update(state);
  ages.update(recent.ages, total.ages);
  showLegend(total.outcomes);
  showTable(state);
}

function showStatus(state) {
  const words = {
    waiting: "Waiting for a run",
    preparing: "Getting ready",
    running: `Running, ${clock(state.replay_s ?? 0)} of ${clock(state.facts?.window_s ?? 0)}`,
    finished: "Finished",
    stopped: "Stopped early",
  }[state.status];
  const pill = $("status");
  pill.dataset.status = state.status;
  const link = pill.querySelector("a");
  if (state.report && link?.getAttribute("href") === state.report) return;
  if (!state.report) { say("status", words); return; }
  const made = Object.assign(document.createElement("a"), { href: state.report, textContent: "open the report" });
  pill.replaceChildren(`${words}, `, made);
}

// What is done before the replay: a line each, in the order in which it began.
function showWorks(works) {
  const list = $("works");
  while (list.children.length > works.length) list.lastChild.remove();
  works.forEach((work, at) => {
    const line = list.children[at] ?? list.appendChild(document.createElement("li"));
    if (!line.children.length) {
      for (const [tag, name] of [["span", "label"], ["progress", "bar"], ["span", "amount"]]) {
        line.appendChild(Object.assign(document.createElement(tag), { className: name }));
      }
    }
    const [label, bar, amount] = line.children;
    line.dataset.over = work.over;
    label.textContent = work.label;
    bar.max = 1;
    bar.setAttribute("aria-label", work.label);
    if (work.over) bar.value = 1;
    else if (work.total) bar.value = work.done / work.total;
    else bar.removeAttribute("value");
    const done = work.total ? `${count(work.over ? work.total : work.done)} of ${count(work.total)}` : "";
    const time = work.over ? clock(work.seconds) : work.left_s === null ? `${clock(work.seconds)} so far` : `about ${clock(work.left_s)} left`;
    amount.textContent = [done, time].filter(Boolean).join(" · ");
  });
  const now = works.filter((work) => !work.over).map((work) => work.label).at(-1);
  if (works.length) say("facts", now ? `Now: ${now}. The replay fills this page when it begins.` : "The replay is about to begin.");
}

function showControls(state) {
  const running = state.status === "running";
  const can = running && state.facts.controllable;
  $("cloud-control").disabled = !can;
  $("calibrate-control").disabled = !can || state.facts.calibrate === null;
  $("k-control").disabled = !can || state.facts.k === null;
  if (!state.wish) return;
  document.querySelector(`input[name=cloud][value=${state.wish.cloud}]`).checked = true;
  $("calibrate").checked = state.wish.calibrate;
  say("calibrate-text", state.wish.calibrate === null ? NONE : state.wish.calibrate ? "on" : "off");
  if (document.activeElement !== $("k")) $("k").value = state.wish.k ?? "";
  if (running && !can) say("note", "A replay under the virtual clock cannot be changed by hand.");
  if (!running) say("note", "");
}

function showLegend(outcomes) {
  const present = OUTCOMES.filter((name) => outcomes[name]);
  const legend = $("outcome-legend");
  if (legend.dataset.names === present.join()) return;
  legend.dataset.names = present.join();
  legend.replaceChildren(...present.map((name) => {
    const entry = document.createElement("span");
    const swatch = document.createElement("i");
    swatch.className = `swatch o-${name}`;
    entry.append(swatch, name);
    return entry;
  }));
}

function showTable({ recent, total, skipped }) {
  const triple = (one) => ["p50", "p95", "p99"].map((p) => ms(one[p])).join(" / ");
  const rows = [
    ["requests", (f) => count(f.requests)],
    ["answered from a snapshot", (f) => percent(f.requests ? f.from_snapshot / f.requests : null)],
    ["NDCG@10, calibrated", (f) => score(f.calibrated)],
    ["NDCG@10, cached as it is", (f) => score(f.uncalibrated)],
    ["NDCG@10, device without any cloud", (f) => score(f.alone)],
    ["request latency from schedule, p50 / p95 / p99", (f) => triple(f.latency_ms)],
    ["request latency from start, p50 / p95 / p99", (f) => triple(f.service_ms)],
    ["refresh latency, p50 / p95 / p99", (f) => triple(f.refresh_ms)],
    ["snapshot age in seconds, p50 / p90", (f) => `${figure(f.age_s.p50)} / ${figure(f.age_s.p90)}`],
    ["requests by state of the breaker", (f) => Object.entries(f.breakers).map(([s, n]) => `${s} ${count(n)}`).join(", ") || NONE],
    ["refreshes by outcome", (f) => Object.entries(f.outcomes).map(([s, n]) => `${s} ${count(n)}`).join(", ") || NONE],
    ["refreshes per request", (f) => ratio(f.per_request)],
    ["refreshes answered per request", (f) => ratio(f.answered_per_request)],
    ["refreshes held back by an open breaker", (f) => count(f.held_back)],
    ["cloud calls, retries included", (f) => count(f.calls)],
    ["cloud calls saved", (f) => percent(f.saved)],
  ];
  const body = $("table");
  if (!body.children.length) {
    for (const [name] of rows) {
      const line = body.insertRow();
      line.append(Object.assign(document.createElement("th"), { scope: "row", textContent: name }));
      line.insertCell();
      line.insertCell();
    }
  }
  rows.forEach(([, cell], i) => {
    [recent, total].forEach((f, j) => {
      const place = body.rows[i].cells[j + 1];
      const text = cell(f);
      if (place.textContent !== text) place.textContent = text;
    });
  });
}

async function ask(change, done) {
  say("note", "…");
  try {
    const response = await fetch("/control", {
      method: "POST",
      headers: { "content-type": "application/json", "x-scalrec-token": token },
      body: JSON.stringify(change),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.title);
    last = answer;
    show(answer);
    say("note", done);
  } catch (error) {
    say("note", `Not done: ${error.message}`);
    if (last) showControls(last);
  }
}

let last = null;
$("cloud-control").addEventListener("change", (event) => ask({ cloud: event.target.value },
  { planned: "The cloud comes and goes as planned.", down: "The cloud is cut off. Devices answer from what they hold.", up: "The cloud is there, whatever the plan says." }[event.target.value]));
$("calibrate").addEventListener("change", (event) => ask({ calibrate: event.target.checked },
  event.target.checked ? "Stale snapshots are corrected." : "Stale snapshots are taken at face value."));
$("k-form").addEventListener("submit", (event) => {
  event.preventDefault();
  ask({ k: $("k").valueAsNumber }, `Devices refresh every ${$("k").value} requests.`);
});

const stream = new EventSource("/events");
stream.addEventListener("message", (event) => {
  last = JSON.parse(event.data);
  show(last);
});
stream.addEventListener("error", () => {
  if (["finished", "stopped"].includes(last?.status)) return;
  $("status").dataset.status = "lost";
  say("status", last ? "No connection; these are the last figures" : "No connection");
});
