// What answers took and cost: the watts of now, a period beside the one before, and what the cloud would have taken.
import { get, query } from "../core/api.js";
import { Chart } from "../core/chart.js";
import { grams, joules, known, money, number, share, watts, wattHours } from "../core/format.js";
import { html } from "../core/html.js";
import { nowS, useLive } from "../core/live.js";
import { Choice, Empty, Meter, Page, Read, Table, useQuery, useRead } from "../core/parts.js";

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

export default function Energy() {
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
