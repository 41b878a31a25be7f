// What benches and evaluations have measured, side by side; and whose answers people prefer.
import { query } from "../core/api.js";
import { Figure } from "../core/chart.js";
import { figure, known, moment, share, sentence } from "../core/format.js";
import { html } from "../core/html.js";
import { Choice, Empty, Facts, Page, Read, Table, useGet, useQuery } from "../core/parts.js";

const counts = (titles) => Object.entries(titles).map(([name, title]) => ({ name, title, number: true }));

export default function Experiments() {
  const [{ run }] = useQuery();
  return html`<${Page} title="Experiments" wide beside=${run && html`<a class="button" href="/experiments">All runs</a>`}>
    <div class="stack lab">${run ? html`<${Run} at=${`/api/v1/experiments/${encodeURIComponent(run)}`} />` : html`<${Runs} /><${Votes} />`}</div>
  <//>`;
}

const RUNS = [
  { title: "Run", show: ({ id, title }) => html`<a href=${query("/experiments", { run: id })}>${title}</a>` },
  { name: "kind", title: "Kind" },
  { title: "Fleet", show: ({ simulated }) => ({ true: "simulated", false: "real" })[simulated] },
  { title: "When", show: (one) => moment(one.made_unix_s) },
  ...counts({ n: "Asked", repeats: "Repeats" }),
  { title: "Side by side", show: ({ arms }) => arms.join(", ") },
];

const Runs = () => html`<${Read} read=${useGet("/api/v1/experiments")}>${({ experiments, more, hint }) => html`
  ${hint ? html`<${Empty}>${sentence(hint)}<//>` : html`<${Table} caption="Runs" columns=${RUNS} rows=${experiments.filter((one) => !one.broken)} />`}
  ${more && html`<p class="note">Only the newest are listed.</p>`}
  ${experiments.map(({ name, broken }) => broken && html`<p class="note wraps">${name} can't be read. ${sentence(broken)}</p>`)}`}<//>`;

const Run = ({ at }) => html`<${Read} read=${useGet(at)}>${(one) => html`
  <h2>${one.title}</h2>
  <${Facts} facts=${[...RUNS.slice(1, -1).map(({ title, name, show = (all) => all[name] }) => [title, show(one)]), ...[one.data, one.environment].flatMap(Object.entries)]} />
  ${one.rows && html`<p class="row">${one.rows.count} rows: ${["csv", "jsonl"].map((form) => html`<a class="button" download href=${`${at}/rows?format=${form}`}>${form.toUpperCase()}</a>`)}</p>`}
  <ul class="note wraps">${one.caveats.map((words) => html`<li>${words}</li>`)}</ul>
  <p class="note">Lines are 95 % intervals; ± is the spread.</p>
  <div class="grid">${one.metrics.map((metric) => html`<${Metric} ...${metric} arms=${one.arms} />`)}</div>
  <div class="pair">${one.plots.map((plot) => html`<${Plot} ...${plot} />`)}</div>`}<//>`;

/** A value with its 95 % interval and the spread of single ones, in words and as a dot on a line; `place` gives where that is, in percent. */
const Value = ({ value, low = value, high = value, spread, place, write = figure }) => html`
  ${write(value)}${low < high && ` (${write(low)} to ${write(high)})`}${spread > 0 && ` ± ${write(spread)}`}
  <span class="dot-line" aria-hidden="true" style=${{ "--low": place(low), "--at": place(value), "--high": place(high) }} />`;

/** Where values lie between the least of them and the most, in percent; and what lies at each quarter. */
function scaled(values, log) {
  const [to, back] = log ? [Math.log, Math.exp] : [Number, Number];
  const [least, most] = [Math.min, Math.max].map((end) => to(end(...values)));
  const span = most - least || 1;
  return [(value) => ((to(value) - least) / span) * 100, html`<p class="ticks">${[0, 0.25, 0.5, 0.75, 1].map((part) => html`<span>${figure(back(least + span * part))}</span>`)}</p>`];
}

function Metric({ name, what, unit, better, arms }) {
  const all = arms.map(({ figures, ...arm }) => ({ ...arm, ...figures[name] })).filter(({ value }) => known(value));
  const [place, scale] = scaled(all.flatMap(({ value, low = value, high = value }) => [0, low, high]));
  return all[0] && html`<section class="card"><h3>${what}${unit && `, ${unit}`}</h3><p class="note">${better && `${better} is good`}</p>
    <dl class="arms">${all.map((arm) => html`<dt>${arm.name} ${arm.test}</dt><dd><${Value} ...${arm} place=${place} /></dd>`)}</dl>${scale}</section>`;
}

function Plot({ title, x, y, shape, bars, lines, ...log }) {
  if (shape === "shares") return html`<section><h2>${title}</h2><${Table} caption=${title} columns=${[{ name: "name", title: `${y}, by ${x}` }, ...bars.map((title, at) => ({ title, number: true, show: ({ points }) => figure(points[at]?.[1]) }))]} rows=${lines} /></section>`;
  const rows = lines.flatMap(({ name, points }) => points.map(([x, y]) => ({ name, x: figure(x), y: figure(y) })));
  const all = lines.flatMap(({ points }) => points);
  const [[across, below], [up, beside]] = [scaled(all.map(([x]) => x), log.log_x), scaled(all.map(([, y]) => y).concat(log.log_y ? [] : 0), log.log_y)];
  const path = ([x, y], nth) => {
    [x, y] = [across(x), 100 - up(y)];
    return { line: `L${x} ${y}`, step: `H${x}V${y}` }[nth && shape] ?? `M${x} ${y}h0`;
  };
  return html`<${Figure} title=${title} summary=${`${y}, by ${x}`} table=${() => ({ columns: [{ name: "name", title: "Of" }, ...counts({ x, y })], rows })}>
    <div class="drawn">${beside}<svg class=${shape} viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">${lines.map(({ points }) => html`<path d=${points.map(path).join("")} />`)}</svg>${below}</div>
    <ul class=${`legend ${shape}`}>${lines.map(({ name }) => html`<li>${name}</li>`)}</ul>
  <//>`;
}

function Votes() {
  const columns = [
    { title: "Name", name: "key" },
    { title: "Share of wins, 0 to 100 %", show: ({ win_share: value, win_share_low: low, win_share_high: high }) => known(value) && html`<${Value} ...${{ value, low, high }} place=${(part) => part * 100} write=${share} />` },
    ...counts({ wins: "Wins", losses: "Losses", ties: "Ties", up: "Thumbs up", down: "Thumbs down" }),
  ];
  const [{ by = "model" }, set] = useQuery();
  return html`<h2>What people prefer</h2>
  <${Choice} label="By" name="by" options=${{ model: "Model", device: "Device", strategy: "Strategy" }} value=${by} choose=${(by) => set({ by })} />
  <${Read} read=${useGet(query("/api/v1/votes", { by }))}>${({ contenders, votes, thumbs }) => contenders[0]
    ? html`<${Table} caption="Votes" columns=${columns} rows=${contenders} /><p class="note">Votes: ${votes}, thumbs: ${thumbs}. Shares leave ties out.</p>`
    : html`<${Empty}>Nobody has voted. <a href="/compare">Compare</a> answers, or give thumbs in the chat.<//>`}<//>`;
}
