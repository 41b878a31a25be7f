// How long answers took: a heat map, percentiles over time, and each device and model.
import { query } from "../core/api.js";
import { byTime, Chart, clock, Figure } from "../core/chart.js";
import { moment, number, seconds } from "../core/format.js";
import { html, useState } from "../core/html.js";
import { announce, Choice, Empty, Facts, Page, Read, Table, useGet, useQuery } from "../core/parts.js";

const PERIODS = { 900: "15 min", 3600: "1 h", 21600: "6 h", 86400: "24 h" };
const TIMES = { first_token: "First token", total: "Total" };
const SHARES = ["p50", "p95", "p99"];
const ENDS = [["Answered by models", "answered"], ["From the cache", "cache_hits", "in none of the times"], ["Failed", "failed"], ["Refused", "refused"], ["Cancelled", "cancelled"]];
const summary = (of) => (of.count ? `${number(of.count)} answers: ${SHARES.map((name) => `${name} ${seconds(of[`${name}_s`])}`).join(", ")}.` : "No answer here has told this.");

export default function Latency() {
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
