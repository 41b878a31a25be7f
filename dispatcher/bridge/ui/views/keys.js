// Who may do what here, and how much of it: one's own key for everybody, all keys for administrators.
import { del, patch, post } from "../core/api.js";
import { moment, number } from "../core/format.js";
import { html, useRef, useState } from "../core/html.js";
import { nowS } from "../core/live.js";
import { announce, Confirm, Empty, Facts, Meter, Page, Read, Refusal, Sheet, Table, useAct, useGet, useQuery } from "../core/parts.js";

const KEYS = "/api/v1/keys";
const MAY = {
  chat: "ask, and keep conversations",
  route: "be told where questions go, and why",
  "read:fleet": "see devices, and everybody's jobs",
  admin: "do everything: also manage devices, and everybody's keys",
};
const LIMITS = { requests_per_minute: "Requests a minute", parallel: "Jobs at once" };
const SCALES = { tokens: ["tokens", 1], micro_usd: ["usd", 1e6], millijoules: ["J", 1e3] };

const listed = (names) => names.join(", ") || "all";
const amount = (unit, value) => `${number(value / SCALES[unit][1])} ${SCALES[unit][0]}`;
const budget = ({ unit, limit, period }) => `${limit / SCALES[unit][1]} ${SCALES[unit][0]}/${period}`;
const ends = (end) => moment(end) || "never";
const state = ({ revoked, expires_unix_s: end }) => (revoked ? "revoked" : end < nowS() ? "expired" : "live");
const Budgets = ({ budgets }) => budgets[0] && budgets.map((one) => html`<${Meter} label=${budget(one)} value=${one.spent + one.reserved} most=${one.limit}
  says=${`${amount(one.unit, one.spent)} spent, ${amount(one.unit, one.reserved)} set aside; anew ${ends(one.resets_unix_s)}`} />`);

const COLUMNS = [
  ["Id", ({ key }) => key], ["Tenant", ({ tenant }) => tenant], ["State", state], ["May", ({ scopes }) => listed(scopes)], ...Object.entries(LIMITS).map(([name, title]) => [title, (grant) => grant[name]]),
  ["Budgets", Budgets], ["Models", ({ models }) => listed(models)], ["Devices", ({ devices }) => listed(devices)], ["Last used", (grant) => moment(grant.last_used_unix_s)], ["Expires", ({ expires_unix_s: end }) => ends(end)],
];

export default () => html`<${Page} title="Keys and limits" wide><div class="keyring">
  <${Read} read=${useGet("/api/v1/session")}>${({ key, keys, scopes }) => html`
    <section class="card"><h2>${key ? `Your key: ${key.name}` : "No key is needed"}</h2>
      ${key ? html`<${Own} grant=${key} />` : html`<p>${keys === "none" ? "There is none, so the door is open to this machine. The first key shuts it, for this page too." : "The bridge's settings let everybody in."}</p>`}
    </section>
    ${scopes.includes("admin") && html`<${All} own=${key?.key} first=${keys === "none"} />`}`}<//>
</div><//>`;

const Own = ({ grant }) => html`
  <p>It may ${grant.scopes.map((one) => MAY[one]).join("; ")}.</p>
  <${Facts} facts=${[...COLUMNS.map(([title, show]) => [title, show({ ...grant, expires_unix_s: grant.key_expires_unix_s })]), ["Logged in until", moment(grant.expires_unix_s)]]} />`;

function All({ own, first }) {
  const [{ all = false }, change] = useQuery();
  const [{ Shown, ...shown }, open] = useState({});
  const read = useGet(`${KEYS}?all=${all}`);
  const done = ({ secret }, says) => {
    announce(says);
    open(secret ? { Shown: Secret, secret } : {});
    if (!first) read.again();
  };
  const name = (grant) => html`<button onClick=${() => open({ Shown: Edit, grant })}>${grant.name}</button> ${grant.key}`;
  return html`<section class="stack"><h2>All keys</h2>
    <div class="row">
      <button class="primary" onClick=${() => open({ Shown: Edit })}>New key</button>
      <label class="check"><input type="checkbox" checked=${all} onChange=${({ target }) => change({ all: target.checked || "" })} /> Ended ones too</label>
    </div>
    <${Read} read=${read}>${({ keys, next }) => html`<${Table} caption="Keys" columns=${[["Name", name], ...COLUMNS.slice(1)].map(([title, show]) => ({ title, show }))} id=${({ key }) => key} rows=${keys} />
      ${!keys[0] && html`<${Empty}>There are no keys.<//>`}${next && html`<p>There are more: drover keys list.</p>`}`}<//>
    ${Shown && html`<${Shown} ...${shown} own=${own} first=${first} open=${open} close=${() => (first && shown.secret ? location.reload() : open({}))} done=${done} />`}
  </section>`;
}

const list = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);

/** A budget as `drover keys` has it. */
function read(text) {
  const [, limit, word, period = "ever"] = /^([\d.]+) *(\w+)(?:\/(\w+))?$/.exec(text) ?? [];
  const [unit, [, scale]] = Object.entries(SCALES).find(([, [says]]) => says === word) ?? ["", []];
  if (!unit) throw Object.assign(new Error(`${text} is no budget: write for example 5000 tokens/day`), { param: "budgets" });
  return { unit, limit: Math.round(limit * scale), period };
}

/** What a form asks for: its name, its label, what the browser needs to know, and what its text means. */
const FIELDS = [
  ["name", "Name", { required: true }],
  ["tenant", "Tenant"],
  ["models", "Models, such as llama3*", {}, list],
  ["devices", "Devices", {}, list],
  ...Object.entries(LIMITS).map(([name, title]) => [name, title, { type: "number", min: 1 }, Number]),
  ["budgets", "Budgets, such as 5000 tokens/day, 5 usd/month, 900 J/ever", {}, (text) => list(text).map(read)],
  ["expires_unix_s", "Expires at the end of", { type: "date" }, (text) => new Date(`${text}T23:59:59`) / 1000],
];

/** A form for a new key, or for one that is there: what was changed is sent. */
function Edit({ grant, first, open, done, close }) {
  const { act, busy, error } = useAct();
  const old = grant ?? { scopes: [first ? "admin" : "chat"], tenant: "default", models: [], devices: [], budgets: [] };
  const { expires_unix_s: end } = old;
  const texts = { ...old, models: old.models.join(", "), devices: old.devices.join(", "), budgets: old.budgets.map(budget).join(", "), expires_unix_s: end && new Date(end * 1000).toLocaleDateString("sv") };
  const save = (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    const body = { scopes: form.getAll("scopes") };
    act(async () => {
      for (const [name, , , parse = String] of FIELDS) if (form.get(name) !== String(texts[name] ?? "")) body[name] = parse(form.get(name)) || undefined;
      if (grant) body.lift = ["expires_unix_s", ...Object.keys(LIMITS)].filter((name) => old[name] && !form.get(name));
      done(await (grant ? patch(`${KEYS}/${grant.key}`, body) : post(KEYS, body)), `${form.get("name")} is kept`);
    });
  };
  const wrong = (name) => error?.param?.split(".")[0] === name && html`<span class="refused" role="alert">${error.message}</span>`;
  return html`<${Sheet} title=${grant ? `Key ${grant.name}` : "New key"} close=${close}><form data-first onSubmit=${save}>
    ${FIELDS.map(([name, title, more]) => html`<label class="field">${title}<input name=${name} defaultValue=${texts[name]} readonly=${grant && name === "tenant"} ...${more} />${wrong(name)}</label>`)}
    <fieldset><legend>It may</legend>${first && html`<p>Without admin nobody could manage keys on this page any more.</p>`}${Object.entries(MAY).map(([one, says]) => html`<label class="check"><input type="checkbox" name="scopes" value=${one} defaultChecked=${old.scopes.includes(one)} />${one}: ${says}</label>`)}${wrong("scopes")}</fieldset>
    ${error && !error.param && html`<${Refusal} error=${error} />`}
    <div class="row"><button class="primary" aria-busy=${busy}>Keep</button>${grant && ACTS.map((act) => html`<button type="button" onClick=${() => open({ Shown: Act, grant, act })}>${act[0]}</button>`)}</div>
  </form><//>`;
}

const ACTS = [
  ["New secret", "The old one ends at once.", (key) => post(`${key}/rotate`)],
  ["Revoke", "It ends at once and for ever, with its sessions.", del],
];

function Act({ grant, own, act: [title, says, act], close, done }) {
  const told = useRef();
  const go = async () => (told.current = await act(`${KEYS}/${grant.key}`));
  return html`<${Confirm} title=${`${title}: ${grant.name}`} says=${grant.key === own ? `${says} This is the key that you use now: this page closes.` : says} yes=${title} act=${go} close=${() => (told.current ? done(told.current, title) : close())} />`;
}

/** A secret, as long as this is open and no longer. */
function Secret({ secret, first, close }) {
  const [said, say] = useState();
  const enter = () => post("/api/v1/session", { key: secret }).then(() => location.reload(), (error) => say(error.message));
  return html`<${Sheet} title="The secret" close=${close} leave="I have kept it">
    <p>It is shown this once: nobody can tell it again.</p>
    <div class="raw"><pre><code class="secret" data-first>${secret}</code></pre><button class="primary copy">Copy</button></div>
    ${first && html`<p><button onClick=${enter}>Log in with it</button></p>`}<p role="status">${said}</p>
  <//>`;
}
