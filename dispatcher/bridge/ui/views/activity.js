// What the fleet is asked: a live table of jobs, also of those that wait, and one job's whole way.
import { del, get, query } from "../core/api.js";
import { cost, drawn, Explained } from "../core/badge.js";
import { figure, known, moment, number, seconds } from "../core/format.js";
import { html, useRef, useState } from "../core/html.js";
import { nowS, useLive, useNow } from "../core/live.js";
import { announce, Empty, Facts, Page, Read, Refusal, Sheet, Table, useAct, useGet, useQuery, useRead } from "../core/parts.js";

// What was streamed until then is not counted.
const counted = (tokens, { state }) => (state === "cancelled" && !tokens ? "–" : number(tokens));
const going = ({ state }) => state === "queued" || state === "running";

/** How long a job takes already, as far as is told. */
const Elapsed = ({ at }) => {
  const now = useNow();
  const told = useRef(now);
  if (useLive("link") !== "lost") told.current = now;
  return seconds(Math.max(0, told.current - at));
};

/** What may be hidden. */
const COLUMNS = [
  ["model", "Model"],
  ["device", "Device"],
  ["why", "Why"],
  ["strategy", "Strategy"],
  ["queue_s", "Queue", seconds],
  ["first_token_s", "First token", seconds],
  ["total_s", "Total", (s, job) => (going(job) ? html`<${Elapsed} at=${job.at} />` : seconds(s))],
  ["prompt_tokens", "Tokens in", counted],
  ["tokens", "Tokens out", counted],
  ["tps", "tok/s", figure],
  ["joules", "Energy", (j, job) => (j === 0 ? "–" : drawn(job))],
  ["cost_usd", "Cost", (_, job) => cost(job)],
].map(([name, title, write]) => ({ name, title, number: write, show: write && ((one) => write(one[name], one)) }));

/** One row from what the stream and the ledger tell, which have other names for the same. */
function flat(told) {
  const job = { ...told, ...told.usage, ...told.engine, ...told.energy };
  const error = job.error_code ?? job.error;
  const tokens = job.completion_tokens ?? job.tokens;
  const decode = job.decode_s ?? job.total_s - job.first_token_s;
  return {
    ...job,
    told,
    tokens,
    error,
    id: job.job ?? job.id,
    at: job.received_unix_s ?? job.queued_unix_s,
    model: job.model ?? job.asked_model,
    device: job.device ?? job.asked_device,
    strategy: job.strategy ?? job.decision?.strategy,
    tps: decode > 0.001 ? tokens / decode : null,
    measured: job.measured ?? job.joules_measured,
    // Of what went wrong that is asked first.
    why: job.error_message ?? error ?? job.reason,
  };
}

/** The jobs that fit what is asked for: what the stream tells now, and what the ledger has, which knows more of each. */
function useJobs({ q, sort, since, state, device, model, strategy, error, limit }) {
  const filters = { state, device, model, strategy, error };
  // By quarters of an hour: the same question is not asked again each second.
  const from = since && Math.floor(nowS() / 900) * 900 - since;
  // What is more than at first is read once.
  const read = useGet(query("/api/v1/jobs", { limit, since_unix_s: from, ...filters }), limit > 50 ? 0 : 30);
  const jobs = new Map([...useLive("jobs"), ...read.value?.jobs ?? []].map(flat).map((one) => [one.id, one]));
  const name = sort.replace("-", "");
  const way = name === sort ? 1 : -1;
  const rows = [...jobs.values()]
    .filter((one) => Object.entries(filters).every(([name, value]) => !value || one[name] === value) && !(one.at < nowS() - since) && (!q || q.toLowerCase().split(" ").every((word) => JSON.stringify(one.told).toLowerCase().includes(word))))
    // Those without such a figure come last.
    .sort(({ [name]: a }, { [name]: b }) => known(b) - known(a) || way * ((a > b) - (a < b)));
  return { jobs, rows, read };
}

/** What is being read stays where it is: while the pointer or the focus is in its frame, and while the page is scrolled. */
function useStay(rows, jobs, asked) {
  const [, turn] = useState();
  const held = useRef({});
  const frame = useRef();
  const ids = rows.map(({ id }) => id);
  const reads = scrollY > 99 || frame.current?.matches(":hover, :focus-within");
  if (!reads || held.current.asked !== asked) held.current = { asked, ids };
  const show = () => {
    held.current = {};
    turn({});
    frame.current.querySelector("[tabindex]").focus();
  };
  return { frame, show, shown: held.current.ids.flatMap((id) => jobs.get(id) ?? []), fresh: ids.filter((id) => !held.current.ids.includes(id)).length };
}

export default function Activity() {
  const [{ job, ...asked }, change, leave] = useQuery();
  const { q = "", sort = "-at" } = asked;
  const limit = Math.min(asked.limit, 1000) || 50;
  const [seen, turn] = useColumns();
  const { jobs, rows, read } = useJobs({ ...asked, q, sort, limit });
  const { waiting, oldest_unix_s: oldest } = useLive("queue")?.durable ?? {};
  const { frame, shown, fresh, show } = useStay(rows, jobs, JSON.stringify([asked, !read.value, limit > 50 && read.busy]));
  const columns = [
    { name: "at", title: "Time", show: ({ id, at }) => html`<a href=${query("", { ...asked, job: id })}>${moment(at)}</a>` },
    { name: "state", title: "State", show: (one) => html`<${State} ...${one} />${going(one) && html`<${Cancel} id=${one.id} />`}` },
    ...COLUMNS.filter(({ name }) => seen(name)),
  ];
  const states = ["queued", "running", "done", "failed", "refused", "cancelled", "gone"];
  const since = { 900: "15 minutes", 3600: "hour", 86400: "day", 604800: "week" };
  const pick = (name, label, values = [...jobs.values()].map((one) => one[name])) => html`<label class="field">${label}<select value=${asked[name] ?? ""} onChange=${({ target }) => change({ [name]: target.value })}>
    <option value="">any</option>${[...new Set([asked[name], ...values])].map((one) => one && html`<option value=${one}>${since[one] ?? one}</option>`)}</select></label>`;
  return html`<${Page} title="Activity" wide>
    <div class="fields">
      <label class="field">Text<input type="search" aria-keyshortcuts="/" value=${q} onInput=${({ target }) => change({ q: target.value })} /></label>
      ${pick("state", "State", states)} ${pick("device", "Device")} ${pick("model", "Model")} ${pick("since", "In the last", Object.keys(since))}
      <details class="columns"><summary class="button">Columns</summary>
        ${COLUMNS.map(({ name, title }) => html`<label class="check"><input type="checkbox" name=${name} checked=${seen(name)} onChange=${turn} />${title}</label>`)}
      </details>
    </div>
    ${waiting > 0 && html`<p class="note">${waiting} durable ${waiting > 1 ? "jobs wait" : "job waits"} in the work queue${oldest && `, the oldest since ${moment(oldest)}`}.</p>`}
    ${fresh > 0 && html`<button class="primary fresh" onClick=${show}>${fresh} new</button>`}
    <${Read} read=${{ ...read, value: shown[0] || !read.busy }}>${() => shown[0]
      ? html`<div class="jobs" ref=${frame}><${Table} caption="Jobs" columns=${columns} rows=${shown} id=${({ id }) => id} sort=${sort} resort=${(sort) => change({ sort })} /></div>`
      : html`<${Empty}>No job${q && read.value?.more && ` of the newest ${jobs.size}`} fits. What the fleet is asked appears here at once.<//>`}<//>
    ${read.value?.more && limit < 1000 && html`<p><button aria-busy=${read.busy} onClick=${() => change({ limit: limit * 4 })}>Older jobs</button></p>`}
    ${job && html`<${Trace} key=${job} id=${job} row=${jobs.get(job)} close=${() => leave({ job: "" })} />`}
  <//>`;
}

const State = ({ state, position, phase }) => html`<span class="job-state" data-state=${state}>${[state, { queued: position && `number ${position}`, running: phase }[state]].filter(Boolean).join(", ")}</span>`;

/** It ends one job: each has its own, since an answer may take long. */
function Cancel({ id }) {
  const { act, busy, error } = useAct();
  const cancel = ({ target }) => {
    // The button goes with the job, maybe before the answer comes.
    const link = target.closest("tr").querySelector("a");
    return act(async () => {
      const { cancelled } = await del(`/api/v1/jobs/${id}`);
      announce(`Job ${id} ${cancelled ? "is cancelled" : "was over already"}`);
      if ([target, document.body].includes(document.activeElement)) link.focus();
    });
  };
  return html`<button class="quiet" aria-busy=${busy} aria-label=${`Cancel job ${id}`} onClick=${cancel}>Cancel</button><${Refusal} error=${error} />`;
}

/** Which columns are shown: this browser keeps it. */
function useColumns() {
  const keep = "drover-activity-hidden";
  // Few need these, and the rest has room in a window of 1280 pixels.
  const [hidden, hide] = useState(() => (localStorage.getItem(keep) ?? "strategy prompt_tokens tps cost_usd").split(" "));
  const turn = ({ target: { name, checked } }) => {
    const now = [...hidden.filter((one) => one !== name), checked ? "" : name];
    localStorage.setItem(keep, now.join(" "));
    hide(now);
  };
  return [(name) => !hidden.includes(name), turn];
}

/** One job's clocks, attempts and record; `row` is what the table has of it, and the bridge is asked for others. */
function Trace({ id, row, close }) {
  const read = useRead(async (signal) => row ?? get(`/api/v1/jobs/${encodeURIComponent(id)}`, { signal }).then((told) => flat({ ...told, ...told.record })), [!row]);
  return html`<${Sheet} title=${`Job ${id}`} close=${close}>
    <${Read} read=${row ? { value: row } : read}>${(job) => html`<div class="stack trace">
      <${Facts} facts=${[["Time", moment(job.at)], ["State", html`<${State} ...${job} />`], ...COLUMNS.map(({ name, title, show }) => [title, show ? show(job) : job[name]])]} />
      <${Explained} account=${job} timings=${job} energy=${job.energy} usage=${job.usage} />
      <details class="raw"><summary>As text</summary><pre tabindex="0">${JSON.stringify(job.told, null, 2)}</pre><button class="copy">Copy</button></details>
    </div>`}<//>
  <//>`;
}
