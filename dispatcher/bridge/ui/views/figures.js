// The views of figures: how long answers took, and what they took and cost.
import { get, query } from "../core/api.js";
import { byTime, Chart, clock, Figure } from "../core/chart.js";
import { grams, joules, known, moment, money, number, seconds, share, watts, wattHours } from "../core/format.js";
import { html, useState } from "../core/html.js";
import { nowS, useLive } from "../core/live.js";
import { announce, Choice, Empty, Facts, Meter, Page, Read, Table, useGet, useQuery, useRead } from "../core/parts.js";

const PERIODS = { 900: "15 min", 3600: "1 h", 21600: "6 h", 86400: "24 h" };
const TIMES = { first_token: "First token", total: "Total" };
const SHARES = ["p50", "p95", "p99"];
const ENDS = [["Answered by models", "answered"], ["From the cache", "cache_hits", "in none of the times"], ["Failed", "failed"], ["Refused", "refused"], ["Cancelled", "cancelled"]];
const summary = (of) => (of.count ? `${number(of.count)} answers: ${SHARES.map((name) => `${name} ${seconds(of[`${name}_s`])}`).join(", ")}.` : "No answer here has told this.");

export function Latency() {
  const [{ period = "3600", time = "total", device = "", model = "" }, change] = useQuery();
  // A column of a longer period takes minutes to change, and the ledger counts all of it each time.
  const read = useGet(query("/api/v1/latency", { since_s: period, device, model }), period > 3600 ? 30 : 5);
  const pick = (title, name, value, found = []) => html`<label class="field">${title}
    <select value=${value} onChange=${({ target }) => change({ [name]: target.value })}><option value="">All</option>
      ${[...new Set([value, ...found.map(({ name }) => name)])].filter(Boolean).map((one) => html`<option key=${one}>${one}</option>`)}</select></label>`;
  return html`<${Page} title="Latency" wide><div class="stack">
    <div class="fields">
      <${Choice} label="Period" name="period" options=${PERIODS} value=${period} choose=${(period) => change({ period })} />
      <${Choice} label="Heat map of" name="time" options=${TIMES} value=${time} choose=${(time) => change({ time })} />
      ${pick("Device", "device", device, read.value?.devices)}${pick("Model", "model", model, read.value?.models)}
    </div>
    <${Read} read=${read}>${(told) => html`<${Spread} ...${told} time=${TIMES[time] ? time : "total"} />`}<//>
  </div><//>`;
}

function Spread({ outcomes, time, columns, since_unix_s: since, step_s: step, left_out_before_unix_s: cut, ...told }) {
  const times = Array.from({ length: columns }, (_, at) => since + at * step);
  const lines = (of, name) => {
    const found = Object.fromEntries(of.columns.map((one) => [one.column, one[`${name}_s`]]));
    return { name, values: times.map((_, at) => found[at]) };
  };
  const named = (title, rows) => html`<${Table} caption=${`By ${title.toLowerCase()}`} id=${({ name }) => name} rows=${rows} columns=${[
    { title, name: "name" }, { title: "Answers", number: true, show: ({ total }) => number(total.count) },
    ...Object.keys(TIMES).flatMap((time) => SHARES.map((name) => ({ title: `${TIMES[time]} ${name}`, number: true, show: (row) => seconds(row[time][`${name}_s`]) || "–" }))),
  ]} />`;
  return html`
    <${Facts} facts=${[...ENDS.map(([title, name, note]) => [title, number(outcomes[name]), note]), told.simulated > 0 && ["Simulated", number(told.simulated)]]} />
    ${cut && html`<p class="note">There were too many: some from before ${moment(cut)} are left out.</p>`}
    ${told.total.count ? html`
      ${told[time].count ? html`<div class="card"><${Heat} title=${`${TIMES[time]}: when, and how long`} times=${times} of=${told[time]} bounds=${told.bounds_s} /></div>` : html`<${Empty}>${summary(told[time])}<//>`}
      <div class="pair">${Object.keys(TIMES).map((time) => html`<div class="card">
        <${Chart} title=${`${TIMES[time]}: percentiles`} summary=${summary(told[time])} times=${times} series=${SHARES.map((name) => lines(told[time], name))} format=${seconds} /></div>`)}</div>
      <div class="pair broad">${named("Device", told.devices)}${named("Model", told.models)}</div>
      ${told.more_names && html`<p class="note">Those with fewer answers are in no table.</p>`}`
    : html`<${Empty}>${outcomes.cache_hits ? "The cache alone" : "Nobody"} answered in this period. Choose a longer one, or ask in the chat.<//>`}
    <p class="note">Percentiles are of ${told.percentiles_from}, from the ${told.source}. An answer stands where its request came, so the newest columns still grow.</p>`;
}

/** Counts by time and by how long it took, gone through by a pointer or by arrow keys. */
function Heat({ title, times, of, bounds }) {
  const [at, point] = useState();
  const edges = [0, ...bounds].map(seconds);
  const rows = edges.map((edge, nth) => ({ edge, name: `${edge} to ${edges[nth + 1] ?? "more"}`, values: times.map(() => 0) }));
  for (const [column, bucket, count] of of.cells) rows[bucket].values[column] = count;
  // With room around it, so that one slow answer does not move all the rest.
  const used = of.cells.map(([, bucket]) => bucket);
  const shown = rows.slice(Math.max(Math.min(...used) - 2, 0), Math.max(...used) + 3).reverse();
  const cells = shown.flatMap(({ values }) => values);
  const most = Math.max(1, ...cells);
  // By the root, so that one busy cell doesn't pale all others.
  const shade = (count) => ({ background: `rgba(var(--heat), ${count && 0.12 + 0.88 * Math.sqrt(count / most)})` });
  const says = (at) => `${moment(times[at % times.length])}, ${shown[Math.floor(at / times.length)].name}: ${number(cells[at])}`;
  const key = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -times.length, ArrowDown: times.length }[event.key];
    if (!step) return;
    event.preventDefault();
    const to = Math.max(0, Math.min((at ?? cells.length - 1 + times.length) + step, cells.length - 1));
    point(to);
    announce(says(to));
  };
  const ticks = (texts, each) => html`<div class="ticks" aria-hidden="true">${texts.map((text, nth) => html`<span>${nth % each ? "" : text}</span>`)}</div>`;
  return html`<${Figure} title=${title} summary=${summary(of)} table=${() => byTime(times, shown, number)}>
    <div class="heat-map">
      ${ticks(shown.map(({ edge }) => edge), Math.ceil(shown.length / 12))}
      <div class="heat" tabindex="0" role="application" aria-roledescription="heat map" aria-label=${`${title}. ${summary(of)} Arrow keys go from cell to cell.`} style=${{ gridTemplate: `repeat(${shown.length}, 1fr) / repeat(${times.length}, 1fr)` }}
        onKeyDown=${key} onPointerOver=${({ target, currentTarget }) => point([...currentTarget.children].indexOf(target))}>${cells.map((count, nth) => html`<i class=${nth === at && "on"} style=${shade(count)}></i>`)}</div>
      ${ticks(times.map((time) => clock(time)), 10)}
    </div>
    <ul class="legend">${[...new Set([1, most])].map((count) => html`<li><i style=${shade(count)}></i>${number(count)}</li>`)}
      <li>${at in cells ? says(at) : "answers in a cell"}</li></ul>
  <//>`;
}

const DAYS = { 1: "Day", 7: "7 days", 30: "30 days" };
const STEPS = { 1: [3600, "hour"], 7: [21600, "step"], 30: [86400, "day"] };
const add = (values) => values.reduce((one, other) => one + other, 0);
const energy = (j) => wattHours(known(j) ? j / 3600 : j);
const usd = (value) => money(value);
const FIGURES = [
  ["Energy of answers", "joules", energy], ["Energy an answer", "joules_per_answer", joules], ["Energy a token", "joules_per_token", joules], ["Idle meanwhile", "idle_joules", energy], ["Lost", "lost_joules", energy], ["Of this cancelled", "cancelled_joules", energy],
  ["Answers", "answered", number], ["Of these with energy", "energy_answers", number], ["Cost of the energy", "cost", money], ["CO2e", "co2e_g", grams],
  ["Paid for cloud models", "cost_usd", usd], ["If all were in the cloud", "cloud_usd", usd], ["Saved against that", "saved_usd", usd],
];
const shown = (rows) => FIGURES.filter(([, name]) => rows.some((row) => known(row[name])));
const told = (row, [, name, write]) => write(row[name], row.currency) || "–";

export function Energy() {
  const [{ days: asked, day }, change] = useQuery();
  const days = DAYS[asked] ? asked : "1";
  const date = (at) => new Date(at).toLocaleDateString("sv");
  const today = date(nowS() * 1000);
  const last = date(`${day}T00:00`) === day && day < today ? day : today;
  const midnight = (on) => {
    const at = new Date(`${last}T00:00`);
    return at.setDate(at.getDate() + on) / 1000; // a day may have 23 or 25 hours
  };
  const read = useRead(async (signal) => {
    const [before, since, until] = [midnight(1 - 2 * days), midnight(1 - days), midnight(1)];
    // What has not ended is compared with as much of what was before.
    const cut = Math.min(since, before + nowS() - since);
    const asked = [["time", before, cut], ["time", since, until], ["device", since, until], ["model", since, until]].map(([by, since_unix_s, until_unix_s]) =>
      get(query("/api/v1/energy", { by, since_unix_s, until_unix_s, limit: 1000, step_s: by === "time" ? (days > 1 ? 3600 : 900) : "" }), { signal }));
    return { told: await Promise.all(asked), days, edges: [before, cut, since, until] };
  }, [days, last], 30);
  return html`<${Page} title="Energy and cost" wide><div class="stack energy">
    <${Now} />
    <div class="fields">
      <${Choice} label="Period" name="days" options=${DAYS} value=${days} choose=${(days) => change({ days })} />
      <label class="field">${days > 1 ? "Last day" : "Day"}<input type="date" max=${today} value=${last} onChange=${({ target }) => change({ day: target.value })} /></label>
    </div>
    <${Read} read=${read}>${(told) => html`<${Spent} ...${told} />`}<//>
  </div><//>`;
}

function Now() {
  const devices = useLive("devices")?.filter((one) => !one.remote) ?? [];
  const told = devices.filter((one) => known(one.watts));
  const live = told.filter((one) => one.liveness === "alive");
  const origin = (one) => (one.watts_source === "simulated" ? "simulated" : one.watts_measured ? "measured" : "estimated");
  const drawn = (some) => watts(add(some.map((one) => one.watts)));
  const by = Object.entries(Object.groupBy(live, origin)).map(([origin, some]) => `${drawn(some)} ${origin}`);
  const most = Math.max(...told.map((one) => Math.max(one.busy_w ?? 0, one.watts)));
  return html`<section class="card"><h2>Watts now</h2>
    <p>${live[0] && html`<b class="large">${drawn(live)}</b> `}<span class="note">${by.join(", ")}${live[0] && "; "}${live.length} of ${devices.length} devices tell what they draw</span></p>
    <div class="grid">${told.map((one) => html`<${Meter} key=${one.name} label=${one.name} value=${one.watts} most=${most} says=${`${watts(one.watts)} ${origin(one)}${live.includes(one) ? "" : ", not heard any more"}`} />`)}</div>
  </section>`;
}

function Spent({ told: [{ rows: past, total: old }, { rows: now, total: all, savings }, devices, models], days, edges }) {
  if (!all.jobs && !old.jobs) return html`<${Empty}>No jobs in this period, nor in what it would be compared with. Choose another, or ask in the chat.<//>`;
  const [, cut, since] = edges;
  const [so, then] = cut < since ? [" so far", ", until then"] : ["", ""];
  const names = days > 1 ? [`These ${days} days${so}`, `${days} before${then}`] : [`This day${so}`, `Day before${then}`];
  return html`
    ${all.joules > 0 && html`<p class="note">${share(all.measured_share)} of this energy was measured${all.measured_share < 1 && ", the rest is estimated"}${all.simulated_jobs > 0 && `; ${number(all.simulated_jobs)} of ${number(all.jobs)} jobs ran on simulated devices`}.</p>`}
    <div class="pair">
      <div class="card"><h2>Compared</h2><${Compared} all=${all} old=${old} names=${names} /></div>
      <div class="card"><${Lines} now=${now} past=${past} names=${names} days=${days} edges=${edges} /></div>
    </div>
    <div class="pair broad"><${Sums} what="device" ...${devices} /><${Sums} what="model" ...${models} /></div>
    <div class="pair">
      <div class="card"><h2>Tariff</h2>
        <p>${known(all.cost) ? "Each answer was priced when it ended." : "Energy has no price here, so its cost and carbon are left out."}</p>
        <p class="note">Set by <code>[tariff]</code> of the routing file.</p></div>
      <div class="card"><h2>Against the cloud</h2>
        <p>${known(all.saved_usd) ? html`<b class="large">${money(Math.abs(all.saved_usd))}</b> ${all.saved_usd < 0 ? "overpaid" : "saved"}, ${money(all.cost_usd ?? 0)} really paid.` : "Nothing is compared: no model here has a price."}</p>
        ${savings.prices.map((one) => html`<p>${one.name} takes ${money(one.input_usd_per_mtok)} for a million tokens in, ${money(one.output_usd_per_mtok)} out.</p>`)}
        <p class="note">${savings.assumption}</p></div>
    </div>`;
}

function Compared({ all, old, names }) {
  const change = ([, name]) => (old[name] > 0 && known(all[name]) ? `${all[name] < old[name] ? "−" : "+"}${share(Math.abs(all[name] / old[name] - 1))}` : "–");
  return html`<${Table} caption="This period and the one before" rows=${shown([all, old])} columns=${[
    { title: "What", name: 0 }, { title: names[0], number: true, show: (one) => told(all, one) }, { title: names[1], number: true, show: (one) => told(old, one) }, { title: "Change", number: true, show: change },
  ]} />`;
}

function Lines({ now, past, names, days, edges: [before, cut, since, until] }) {
  const [step, word] = STEPS[days];
  const times = Array.from({ length: Math.round((until - since) / step) }, (_, at) => since + at * step);
  const line = (name, rows, from, end) => {
    const values = times.map((_, at) => (from + at * step > end ? null : 0));
    for (const row of rows) values[Math.max(0, Math.min(Math.floor((row.from_unix_s - from) / step), times.length - 1))] += row.joules / 3600;
    return { name, values };
  };
  const series = [line(names[0], now, since, nowS()), line(names[1], past, before, cut)].slice(0, past[0] ? 2 : 1);
  const says = series.map(({ name, values }) => `${name}: ${wattHours(add(values))}, at most ${wattHours(Math.max(...values))} in one ${word}.`).join(" ");
  return html`<${Chart} title=${`Energy by ${word}`} summary=${says} series=${series} times=${times} format=${wattHours} height=${360} />`;
}

function Sums({ what, rows }) {
  const bar = (row, [, name, write]) => write === joules && row[name] && html`<meter aria-hidden="true" max=${Math.max(...rows.map((one) => one[name] ?? 0))} value=${row[name]}></meter>`;
  return html`<div class="card sums"><h2>By ${what}</h2><${Table} caption=${`Energy by ${what}`} id=${({ key }) => key} rows=${rows.filter((row) => FIGURES.some(([, name]) => row[name]))} columns=${[
    { title: "Name", show: ({ key }) => (key === "-" ? "not run" : key) }, ...[...shown(rows), ["Measured", "measured_share", share]].map((one) => ({ title: one[0], number: true, show: (row) => html`${told(row, one)}${bar(row, one)}` })),
  ]} /></div>`;
}
