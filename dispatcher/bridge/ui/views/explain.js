// Why a question goes where it goes: of a job that ran, or of one that is only thought of.
import { post } from "../core/api.js";
import { figure, joules, moment, seconds } from "../core/format.js";
import { html, useState } from "../core/html.js";
import { ModelPicker, StrategyPicker, useModels } from "../core/models.js";
import { announce, Facts, Page, Read, Refusal, Table, useGet, useQuery, useRead } from "../core/parts.js";

const TERMS = { tokens: "w1·C (fit)", topic: "w2·Sim (topic)", health: "w3·H (health)" };
const NAMES = Object.keys(TERMS);

export default function Route() {
  const [query, ask] = useQuery();
  const { job } = query;
  const { value } = useGet("/api/v1/jobs?limit=50");
  return html`<${Page} title="Route" wide><div class="routing">
    <div class="fields"><label class="field">Past job<input type="search" value=${job} list="jobs" maxlength="200" placeholder="none: a dry run" onChange=${({ target }) => ask({ job: target.value.trim() })} /></label>
      <datalist id="jobs">${value?.jobs.map((one) => html`<option value=${one.job}>${moment(one.received_unix_s)} ${one.device ?? one.state}</option>`)}</datalist></div>
    ${job ? html`<${PastJob} key=${job} job=${job} />` : html`<${DryRun} query=${query} ask=${ask} />`}
  </div><//>`;
}

const PastJob = ({ job }) => html`<${Read} read=${useGet(`/api/v1/route/${encodeURIComponent(job)}`)}>
  ${(told) => html`<${Decision} told=${told} />`}<//>`;

function DryRun({ query, ask }) {
  const calmMs = 250;
  const keep = "drover-dry-run";
  const { model = "auto", strategy } = query;
  const [prompt, write] = useState(sessionStorage.getItem(keep) ?? "Why is the sky blue?");
  const [weights, weigh] = useState(each((name) => Number(query[name])));
  const known = useModels();
  const explain = (weights) => async (signal) => {
    // Each counts for the key, and whoever drags would ask a hundred times.
    await new Promise((go) => setTimeout(go, calmMs));
    sessionStorage.setItem(keep, prompt);
    const told = await post("/api/v1/route/explain", { model, strategy, weights, messages: [{ role: "user", content: prompt }] }, { signal });
    ask(weights && each((name) => Number(weights[name].toFixed(3))));
    announce(title(told, "would be"));
    return told;
  };
  const asked = useRead(explain(), [model, strategy, prompt]);
  const own = asked.value;
  const tries = own && weighs(own) && weights.health >= 0 && weights;
  const tried = useRead(tries ? explain(tries) : async () => own && ask(each(() => "")), [own, tries]);
  return html`
    <div class="card">
      <p>Nothing is run: a dispatcher only says where this would go now.</p>
      <label class="field">Question<textarea value=${prompt} onInput=${({ target }) => write(target.value)}></textarea></label>
      <div class="fields">
        <${ModelPicker} known=${known} value=${model} choose=${(model) => ask({ model })} />
        <${StrategyPicker} known=${known} value=${strategy} choose=${(strategy) => ask({ strategy })} />
        <button onClick=${asked.again}>Ask again</button>
      </div>
      ${own && (weighs(own) ? html`<${Weights} weights=${tries || own.weights} weigh=${weigh} />` : "This strategy has no weights to try.")}
    </div>
    <${Read} read=${!asked.error && tries && (tried.value || tried.error) ? tried : asked}>${(told) => html`<${Decision} told=${told} own=${own} />`}<//>`;
}

// The three are there together or not at all.
const weighs = ({ weights }) => weights?.topic >= 0;
const each = (weight) => Object.fromEntries(NAMES.map((name) => [name, weight(name)]));

/** The three are 1 together: the others give way as they are to each other. */
function Weights({ weights, weigh }) {
  // What somebody writes there stays as it is written.
  const [held, hold] = useState();
  const move = (name) => ({ target }) => {
    const to = Math.min(1, Math.max(0, target.value));
    const rest = 1 - weights[name];
    weigh(each((one) => (one === name ? to : rest ? (weights[one] * (1 - to)) / rest : (1 - to) / 2)));
  };
  return html`<fieldset class="weights"><legend>Weights to try</legend>
    ${NAMES.map((name) => html`<label class=${`part ${name}`}>${TERMS[name]}
      <input type="range" max="1" step=".01" value=${weights[name]} onInput=${move(name)} />
      <input type="number" aria-label=${TERMS[name]} value=${held === name ? undefined : weights[name].toFixed(2)} onInput=${move(name)} onFocus=${() => hold(name)} onBlur=${() => hold()} step="any" /></label>`)}
    <button onClick=${() => weigh({})}>Reset</button>
  </fieldset>`;
}

const is = (one, other) => one.device === other?.device && one.model === other.model;
const title = ({ cache, chosen, options: [best] }, how) =>
  chosen ? `${cache?.source ? "The cache would answer; without it " : ""}${chosen.device} with ${chosen.model} ${how} chosen` : cache?.source ? "The cache answered" : best ? `No device had it; the best was ${best.device} with ${best.model}` : "Nobody is chosen";

function Decision({ told, own }) {
  const { chosen, options, error, removed = [], cache, weights = {} } = told;
  const names = NAMES.filter((name) => name in weights);
  const predicted = [["Wait", "wait_s", seconds], ["Load", "load_s", seconds], ["First token", "first_token_s", seconds], ["Total", "total_s", seconds], ["Energy", "energy_j", joules]].map(
    ([title, name, write]) => [title, ({ predicted }) => write(predicted[name])]);
  const figures = [["Score", ({ score }) => figure(score)], ...names.map((name) => [TERMS[name], ({ parts }) => figure(parts[name]), name]), ...predicted];
  const terms = NAMES.map((name) => [TERMS[name].slice(3), ({ terms }) => figure(terms[name])]);
  return html`<div class="decision stack">
    <h2>${title(told, own ? "would be" : "was")}</h2>
    <${Facts} facts=${[["Why", chosen?.reason], ["Strategy", told.strategy], ["Rule", told.rule], ["Cache", cache?.outcome, cache?.why]]} />
    <${Refusal} error=${error} />
    ${weighs(told) && html`<p>S = w1·C + w2·Sim + w3·H = ${NAMES.map((name) => TERMS[name].replace(/w./, weights[name].toFixed(2))).join(" + ")}</p>`}
    <p>Seconds and joules are predicted.</p>
    <ol class="options">${options.map((one, at) => html`<li key=${one.device + one.model}>
      <div class="row"><strong>${one.device}</strong> ${one.model} ${marks(one, at, told, own).map((mark) => html`<span class="mark">${mark}</span>`)}</div>
      <div class="score-bar">${("health" in one.parts ? names : [""]).map((name) => html`<i class=${name} style=${{ width: `${100 * (one.parts[name] ?? one.score)}%` }}></i>`)}</div>
      <${Facts} facts=${figures.map(([title, show, name]) => [html`<span class=${`part ${name}`}>${title}</span>`, show(one)])} /></li>`)}</ol>
    ${options[0] && html`<details><summary>Options as a table</summary><${Table} caption="Options" rows=${options} columns=${[...NAMED, ...[...terms, ...figures].map(([title, show]) => ({ title, show, number: true }))]} /></details>`}
    ${removed[0] && html`<h2>Out: ${told.removed_in_all}</h2><${Table} caption="Devices that are out" rows=${removed} columns=${[...NAMED, { title: "Filter", name: "filter" }, { title: "Why", name: "reason" }]} />`}
    ${told.changes && html`<h2>What would change it</h2><ul>${told.changes.map((one) => html`<li>${one}</li>`)}</ul>`}
    <h2>What went in</h2>
    <${Facts} facts=${Object.entries(told.features ?? {}).map(([name, value]) => [name.replaceAll("_", " "), value?.reason ?? value?.toString()])} />
  </div>`;
}

const NAMED = [{ title: "Device", name: "device" }, { title: "Model", name: "model" }];

/** What is told of an option in words; also where it stood by the owner's own weights, if that was elsewhere. */
function marks(one, at, { chosen }, own) {
  const was = own ? own.options.findIndex((other) => is(one, other)) : at;
  return [is(one, chosen) && "chosen", was !== at && `${was < at ? "↓" : "↑"} was ${was + 1}.`, one.warm && "warm", one.simulated && "simulated", one.remote && "elsewhere", ...(one.strain ?? [])].filter(Boolean);
}
