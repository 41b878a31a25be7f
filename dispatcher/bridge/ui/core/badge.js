// The line under an answer: where it ran, why, and what it took; the details behind it. It knows the account of a job alone.
import { may } from "./api.js";
import { duration, joules, known, money, rate, seconds } from "./format.js";
import { html } from "./html.js";
import { Facts, Origin } from "./parts.js";

const TERMS = { tokens: "Fits the size", topic: "Knows the topic", health: "Health and load" };

/** What was paid, where that is known. */
export const cost = ({ cost_usd: usd, cost_estimated: about }) => known(usd) && `${usd === 0 ? "free" : money(usd)}${about ? " (estimated)" : ""}`;

/** What was drawn, and whether somebody measured it. */
export const drawn = (energy) => energy?.joules === 0 ? "0 J" : known(energy?.joules) && html`${joules(energy.joules)} <${Origin} measured=${Boolean(energy.measured)} /> ${energy.simulated && "simulated"}`;

/** `account` is the `route` of the last frame, with the `energy` and `usage` of that. */
export function Badge({ account }) {
  const { timings = {}, cache, energy, job, saved_usd: saved, usage } = account;
  const { queue_s: queue, first_token_s: first } = timings;
  const facts = [
    ["device", "Device", account.device],
    ["model", "Model", account.model],
    ["cached", "Origin", cache?.outcome === "hit" && `cached${known(cache.age_s) ? ` ${duration(cache.age_s)} ago` : ""}`],
    ["reason", "Why", account.reason],
    ["queue", "Queue", queue >= 0.05 && `${seconds(queue)} queued`],
    ["ttft", "Time to first token", known(first) && `${seconds(first)} to first token`],
    ["tps", "Speed", cache?.outcome !== "hit" && timings.decode_tps > 0 && rate(timings.decode_tps)],
    ["energy", "Energy", drawn(energy)],
    ["cost", "Cost", [cost(account), saved > 0 && `${money(saved)} saved`].filter(Boolean).join(", ")],
    ["simulated", "Origin", account.simulated && "simulated"],
  ];
  return html`<details class="route">
    <summary><span class="line">${facts.map(([name, label, says]) => says && html`
      <span class="fact" data-fact=${name}><span class="unseen">${label}: </span>${says}</span>`)}</span><span class="more">Details</span></summary>
    <${Explained} account=${account} timings=${timings} energy=${energy} usage=${usage}>${job && html`<a href=${`/activity?job=${job}`}>All that happened</a>`}<//>
  </details>`;
}

/** All that an account tells of a job, and where more is told. */
export const Explained = ({ account: { terms, weights = {}, score, attempts = [], job, saved_against: against }, timings, energy, usage, children }) => html`<div class="explain">
  ${terms && html`<${Score} ...${{ terms, weights, score }} />`}
  ${attempts[0] && html`<div><h3>Attempts</h3><ol class="attempts">
    ${attempts.map((one) => html`<li>${one.device} (${one.model}): ${one.outcome} after ${seconds(one.s ?? one.total_s)}${one.detail && `, ${one.detail}`}</li>`)}
  </ol></div>`}
  ${timings.total_s > 0 && html`<${Clocks} ...${timings} />`}
  <${Facts} facts=${[
    ["Tokens", known(usage?.completion_tokens) && `${usage.prompt_tokens} read, ${usage.completion_tokens} written`],
    ["Saved against", against],
    ["Energy from", energy?.source, known(energy?.uncertainty) && `± ${Math.round(energy.uncertainty * 100)} %`],
  ]} />
  ${job && html`<p class="row job"><span>Job <code>${job}</code></span>
    ${may("explain") && html`<a href=${`/explain?job=${job}`}>Why this device</a>`}${children}</p>`}
</div>`;

function Score({ terms, weights, score }) {
  const total = Object.values(weights).reduce((sum, one) => sum + one, 0) || 1;
  return html`<table class="terms">
    <caption>Score${known(score) ? ` ${score.toFixed(2)}` : ""}</caption>
    <tbody>${Object.entries(terms).map(([name, value]) => html`<tr>
      <th scope="row">${TERMS[name] ?? name}</th>
      <td class="share"><span class="part" style=${{ width: `${Math.min(Math.max(value, 0), 1) * 100}%` }}></span></td>
      <td class="number">${value.toFixed(2)}${known(weights[name]) ? ` × ${(weights[name] / total).toFixed(2)}` : ""}</td>
    </tr>`)}</tbody>
  </table>`;
}

/** Where the time went; the backend's own clocks begin where the queue ends. */
function Clocks({ total_s: total, queue_s: queue = 0, first_token_s: first, load_s: load = 0, prefill_s: prefill, decode_s: decode = total - first }) {
  const part = (s) => `${(100 * s) / total}%`;
  const bar = ([says, s, from = 0]) => s > 0 && html`<li><span>${says}</span><span><i style=${{ marginLeft: part(from), width: part(s) }}></i></span><b>${seconds(s)}</b></li>`;
  return html`<div><h3>Clocks</h3><ul class="clocks">
    ${[["Queue", queue], ["Load", load, queue], ["Prefill", prefill, queue + load], ["First token", first], ["Decode", decode, total - decode], ["Total", total]].map(bar)}</ul></div>`;
}
