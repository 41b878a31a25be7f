// The fleet as it is: a map of it, a card for each device, and what a device was.
import { may, post, query } from "../core/api.js";
import { Chart } from "../core/chart.js";
import { bytes, degrees, duration, figure, known, moment, share, watts } from "../core/format.js";
import { html, useRef, useState } from "../core/html.js";
import { useLive, useNow } from "../core/live.js";
import { announce, Choice, Empty, Facts, Meter, Origin, Page, Read, Refusal, Sheet, Table, useAct, useGet, useQuery } from "../core/parts.js";

const SAYS = { draining: "draining: takes nothing new", suspect: "silent", dead: "lost" };
const word = (state) => SAYS[state] ?? state;
const SORTS = { name: "Name", state: "State", watts: "Watts", temperature_c: "Heat", full: "Memory", in_flight: "Jobs" };

export default function Fleet() {
  const told = useLive("devices");
  const now = useNow();
  const [asked, change, leave] = useQuery();
  const { q = "", sort = "name", device, span } = asked;
  // The share of its memory that each uses, where it says.
  const devices = told?.map((one) => ({ ...one, full: 1 - one.memory_available_bytes / one.memory_total_bytes }));
  const shown = devices
    ?.filter(({ name, state, models }) => [name, state, word(state), ...models.map((one) => one.name)].join(" ").toLowerCase().includes(q.toLowerCase()))
    .sort(({ [sort]: a }, { [sort]: b }) => (a?.localeCompare ? a.localeCompare(b) : (b || 0) - (a || 0)));
  return html`<${Page} title="Fleet" wide>
    ${devices?.[0] ? html`
      <${Plan} devices=${shown} />
      <div class="fields">
        <label class="field">Name, state or model<input type="search" aria-keyshortcuts="/" value=${q} onInput=${({ target }) => change({ q: target.value })} /></label>
        <${Choice} label="Sort" name="sort" value=${sort} options=${SORTS} choose=${(sort) => change({ sort })} />
      </div>
      ${!shown[0] && html`<${Empty}>Nothing here fits “${q}”. <button onClick=${() => change({ q: "" })}>Show all devices</button><//>`}
      <div class="grid fleet">${shown.map((one) => html`<${Device} key=${one.name} ...${one} now=${now} href=${query("", { ...asked, device: one.name })} />`)}</div>`
    : devices ? html`<${Empty}>No device has been heard. Start an agent beside an Ollama: <code>NATS_URL=nats://${location.hostname}:4222 drover-agent</code><//>`
    : html`<p class="loading">Listening for devices</p>`}
    ${device && html`<${History} key=${device} name=${device} span=${span} change=${change} leave=${leave} simulated=${devices?.find(({ name }) => name === device)?.simulated} />`}
  <//>`;
}

/** The bus, and what hangs on it; each leads to its card. */
const Plan = ({ devices }) => html`<details class="map card" open=${devices.length < 25}><summary>Map</summary>
  <b class="hub">Drover</b>
  <div class="bus">${devices.map(({ name, state, watts: drawn, full, in_flight: jobs }) => {
    const says = [word(state).split(":")[0], watts(drawn)].filter(Boolean).join(", ");
    return html`<a key=${name} href=${`#device-${name}`} data-state=${state} data-busy=${jobs > 0} style=${{ "--full": full || 0 }}
      aria-label=${`${name}, ${says}${full ? `, memory ${share(full)} used` : ""}`}><b>${name}</b> <small>${says}</small></a>`;
  })}
  </div></details>`;

function Device({ href, now, ...device }) {
  const { name, state, full, models, throttling, warnings } = device;
  const lost = useLive("link") === "lost";
  const waiting = useLive("queue")?.by_device?.[name];
  const age = Math.max(0, now - device.seen_unix_s);
  const stale = device.liveness !== "alive" || (lost && age > 3 * (device.interval_s ?? 1));
  const there = state !== "dead";
  const loaded = models.filter((one) => one.loaded);
  const left = (end) => (known(end) ? `leaves memory in ${duration(Math.max(0, end - now))}` : "stays in memory");
  return html`<article class="card device" data-stale=${stale}>
    <header><h2><a id=${`device-${name}`} href=${href}>${name}</a></h2><span class="state" data-state=${state}>${word(state)}</span></header>
    <p class="seen">${stale ? html`<strong>No word for ${duration(age)}: these are its last figures</strong>` : `heard ${duration(age)} ago`}${device.simulated && " · simulated"}</p>
    ${device.reason && html`<p class="note">${device.reason}</p>`}
    ${known(full) && html`<${Meter} label="Memory" value=${full} most="1" says=${`${share(full)} of ${bytes(device.memory_total_bytes)}`} />`}
    <${Facts} facts=${[
      ["Power", known(device.watts) && html`${watts(device.watts)} <${Origin} measured=${device.watts_source === "simulated" ? null : device.watts_measured} />`, device.watts_source],
      ["Heat", degrees(device.temperature_c), device.throttled && "throttled"],
      there && ["Jobs", `${device.in_flight} of ${device.slots}`],
      ["Waiting", waiting],
    ]} />
    ${[throttling, warnings].flat().map((one) => one && html`<p class="warning" key=${one}>${one}</p>`)}
    <ul class="models">
      ${loaded.map((one) => html`<li key=${one.name}><b>${one.name}</b> <small>${one.memory_bytes ? `${bytes(one.memory_bytes)}, ` : ""}${left(one.expires_unix_s)}</small></li>`)}
      ${models.length > loaded.length && html`<li><small>${loaded[0] ? "" : "no model in memory, "}${models.length - loaded.length} on disk</small></li>`}
    </ul>
    ${there && may("admin") && html`<${Orders} ...${device} />`}
  </article>`;
}

/** What an operator may have a device do. */
function Orders({ name, state, models }) {
  const { act, busy, error } = useAct();
  const [model, pick] = useState("");
  const [loads, load] = useState();
  const choice = useRef();
  const order = (verb, what, body) => html`<button aria-busy=${busy} aria-label=${`${verb} ${what}`} onClick=${({ target }) => act(async () => {
    load(body?.model);
    const told = await post(`/api/v1/devices/${encodeURIComponent(name)}/${verb.toLowerCase()}`, body, { waitS: 90 });
    announce(`${what} is ${told.state}`);
    // This button goes away, and takes the focus along, unless that has gone on meanwhile.
    if (body && target.matches(":focus")) choice.current.focus();
    pick("");
  })}>${verb}</button>`;
  return html`<footer class="row">
    ${order(state === "draining" ? "Resume" : "Drain", name)}
    <select ref=${choice} aria-label=${`A model to load on ${name}`} value=${model} onChange=${({ target }) => pick(target.value)}>
      <option value="">Load a model…</option>${models.map((one) => !one.loaded && html`<option key=${one.name}>${one.name}</option>`)}
    </select>
    ${busy && loads && html`<span>loading ${loads}</span>`}
    ${model && order("Load", `${model} on ${name}`, { model })}
    <${Refusal} error=${error} title=${`${name} goes on as before`} />
  </footer>`;
}

const SPANS = { 3600: "Hour", 86400: "Day", 604800: "Week" };
const DRAWN = [["Power", "watts", watts], ["Heat", "temperature_c", degrees], ["Memory in use", "memory_used_bytes", bytes], ["Jobs at once", "in_flight", figure]];

/** What a device was like. */
function History({ name, span = "3600", change, leave, simulated }) {
  const read = useGet(`/api/v1/devices/${encodeURIComponent(name)}/history?since_s=${span}`, 60);
  return html`<${Sheet} title=${simulated ? `${name} (simulated)` : name} close=${() => leave({ device: "", span: "" })}>
    <${Choice} label="The last" name="span" value=${span} options=${SPANS} choose=${(span) => change({ span })} />
    <${Read} read=${read}>${({ points, events, ...span }) => html`<div class="stack">
      ${points[0] ? DRAWN.map((one) => drawn(points, span, simulated, ...one)) : html`<${Empty}>Nothing was told in this time. The ledger keeps what devices tell, minute by minute.<//>`}
      ${events[0] && html`<h3>What it went through</h3><${Table} caption="What it went through" rows=${events} columns=${[{ title: "Time", show: (one) => moment(one.at_unix_s) }, { title: "What happened", show: ({ event }) => word(event) }, { title: "State since", name: "state" }, { title: "Why", name: "why" }]} />`}
    </div>`}<//>
  <//>`;
}

function drawn(points, { since_unix_s: since, until_unix_s: until, step_s: step }, simulated, title, field, format) {
  const told = new Map(points.map((one) => [one.from_unix_s, one[field]]));
  const values = [...told.values()].filter(known);
  if (!values.length) return null;
  // All of the time that was asked for: steps of which nothing was told are gaps.
  const times = Array.from({ length: (until - since) / step }, (_, nth) => since + nth * step);
  const measured = simulated || field !== "watts" ? "" : points.every((one) => one.measured_share > 0.9) ? ", measured" : ", estimated at least in part";
  return html`<${Chart} key=${field} title=${title} height=${140} times=${times} format=${format} series=${[{ name: title, values: times.map((at) => told.get(at)) }]}
    summary=${`${format(Math.min(...values))} to ${format(Math.max(...values))}, ${format(values.at(-1))} at last${measured}`} />`;
}
