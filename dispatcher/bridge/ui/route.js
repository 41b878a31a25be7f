// Where an answer ran and why, in words and bars. It knows the account that the bridge gives, and nothing of the chat.
import { element } from "/ui/dom.js";

const seconds = (s) => (s < 0.0995 ? `${Math.round(s * 1000)} ms` : s < 9.95 ? `${s.toFixed(2)} s` : `${s.toFixed(1)} s`);
const known = (value) => value !== undefined && value !== null && value !== "";

/** How long ago something was, roughly; nothing where nobody knows. */
const age = (s) => {
  if (!known(s)) return "";
  if (s < 90) return `${Math.round(s)} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  return s < 172800 ? `${Math.round(s / 3600)} h ago` : `${Math.round(s / 86400)} days ago`;
};

/** What a job does before its first word. */
export function waitingText(standing) {
  const place = standing.device ?? "a device";
  switch (standing.phase) {
    case "queue":
      return known(standing.position) ? `Queued, position ${standing.position}${soon(standing.eta_s)}` : "Queued";
    case "load":
      return `Loading ${standing.model ?? "the model"} on ${place}${soon(standing.eta_s)}`;
    case "prefill":
      return `${place} reads your message${soon(standing.eta_s)}`;
    case "decode":
      return `${place} writes`;
    default:
      return standing.device ? `Sent to ${place}` : "Waiting for the fleet";
  }
}

const soon = (eta) => (known(eta) && eta >= 1 ? `, about ${Math.round(eta)} s` : "");

/** The line under an answer, with the details behind it. `shown` is what the page itself measured, for want of better. */
export function routeLine(account, shown = {}) {
  const timings = account.timings ?? {};
  const first = timings.first_token_s ?? shown.firstTokenS;
  const facts = [
    fact("device", "Device", account.device),
    fact("model", "Model", account.model),
    account.cache?.outcome === "hit" && fact("cached", "Origin", "cached", age(account.cache.age_s)),
    fact("reason", "Why", account.reason),
    known(first) && fact("ttft", "Time to first token", seconds(first), "to first token"),
    known(timings.decode_tps) && fact("tps", "Speed", `${timings.decode_tps.toFixed(1)} tok/s`),
    account.simulated && fact("simulated", "Origin", "simulated"),
  ].filter(Boolean);
  const line = element("details", { class: "route" }, element("summary", {}, element("span", { class: "facts" }, ...facts), element("span", { class: "more" }, "Details")));
  line.append(element("div", { class: "explain" }, ...explanation(account)));
  return line;
}

function fact(name, label, value, suffix = "") {
  if (!known(value)) return null;
  return element(
    "span",
    { class: `fact ${name}`, "data-fact": name },
    element("span", { class: "unseen" }, `${label}: `),
    element("span", { class: "value" }, value),
    suffix && element("span", { class: "suffix" }, ` ${suffix}`),
  );
}

function explanation(account) {
  return [terms(account), attempts(account.attempts ?? []), times(account.timings ?? {}), job(account)].filter(Boolean);
}

const TERM_NAMES = { tokens: "Fits the size", topic: "Knows the topic", health: "Health and load" };

function terms({ terms, weights = {}, score }) {
  if (!terms) return null;
  const total = Object.values(weights).reduce((sum, one) => sum + one, 0) || 1;
  const rows = Object.entries(terms).map(([name, value]) => {
    const bar = element("span", { class: "bar-fill" });
    bar.style.setProperty("--share", `${Math.round(Math.min(Math.max(value, 0), 1) * 100)}%`);
    const weight = known(weights[name]) ? ` × ${(weights[name] / total).toFixed(2)}` : "";
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, TERM_NAMES[name] ?? name),
      element("td", { class: "share" }, bar),
      element("td", { class: "number" }, `${Number(value).toFixed(2)}${weight}`),
    );
  });
  const title = known(score) ? `Score ${Number(score).toFixed(2)}` : "Score";
  return element("table", { class: "terms" }, element("caption", {}, title), element("tbody", {}, ...rows));
}

function attempts(all) {
  if (all.length < 2) return null;
  const rows = all.map((one) =>
    element("li", {}, `${one.device} (${one.model}): ${one.outcome}${known(one.s) ? ` after ${seconds(one.s)}` : ""}`),
  );
  return element("div", {}, element("h3", {}, "Attempts"), element("ol", { class: "attempts" }, ...rows));
}

const TIME_NAMES = {
  queue_s: "Queue",
  accept_s: "Accepted after",
  load_s: "Model load",
  prefill_s: "Prompt read",
  first_token_s: "First token",
  total_s: "Total",
};

function times(timings) {
  const pairs = Object.entries(TIME_NAMES)
    .filter(([key]) => known(timings[key]))
    .map(([key, name]) => element("div", {}, element("dt", {}, name), element("dd", {}, seconds(timings[key]))));
  return pairs.length ? element("dl", { class: "times" }, ...pairs) : null;
}

const job = (account) => account.job && element("p", { class: "job" }, "Job ", element("code", {}, account.job));
