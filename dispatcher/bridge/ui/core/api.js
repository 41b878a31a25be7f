// Requests to the bridge: JSON in, JSON out, and every refusal as one kind of error. It knows no view.

const SILENT_MS = 40000;

/**
 * A refusal in words for people, and what is known of it: `status`, a `code` that is stable, `param`, `retryAfter` in seconds, and as
 * `talk` the conversation that has kept its question.
 */
export class Refused extends Error {
  constructor(message, known) {
    super(message);
    Object.assign(this, known);
  }

  toJSON() {
    return { ...this, message: this.message };
  }
}

/** Send a request and give the response. Throws `Refused`, and `AbortError` when `signal` says so. A stranger is told to the page. */
export async function send(method, path, body, { signal, headers } = {}) {
  const asked = { method, signal, headers: { "content-type": "application/json", ...headers }, body: body && JSON.stringify(body) };
  const response = await fetch(path, asked).catch((error) => {
    throw error.name === "AbortError" ? error : new Refused("The bridge can't be reached. Check that Drover runs, then try again.", { code: "unreachable" });
  });
  if (response.ok) return response;
  if (response.status === 401) dispatchEvent(new Event("drover-stranger"));
  throw refusal((await response.json().catch(() => ({}))).error, response);
}

/** Make the error from what the bridge said; `response` counts where that says nothing. */
export function refusal(error, response = {}) {
  const { message = `The bridge answered ${response.status}.`, code, param, retry_after_s: wait } = error ?? {};
  const said = (name) => response.headers?.get(name);
  return new Refused(message, { status: response.status, code, param, retryAfter: wait ?? Number(said("retry-after")), talk: said("x-drover-conversation") });
}

/** Each event of a stream, with its name before it, until the stream ends, breaks off, or is silent: the bridge speaks every 10 seconds. */
export async function* events({ body }) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let [rest, timer] = ["", 0];
  for (;;) {
    // A connection that nobody is behind may stay open for a quarter of an hour.
    clearTimeout(timer);
    timer = setTimeout(() => reader.cancel(), SILENT_MS);
    const { value, done } = await reader.read().catch(() => ({ done: true }));
    if (done) return;
    const told = (rest + value).split("\n\n");
    rest = told.pop();
    for (const one of told) {
      const { event, data } = Object.fromEntries(one.split("\n").map((line) => line.split(/: (.*)/)));
      if (data) yield [event, JSON.parse(data)];
    }
  }
}

/** What the bridge answers. It is waited for `waitS`, since whoever asked can't ask anew before. */
async function json(method, path, body, { signal, waitS = 30 } = {}) {
  const late = AbortSignal.timeout(waitS * 1000);
  try {
    const response = await send(method, path, body, { signal: AbortSignal.any([late, signal].filter(Boolean)) });
    return response.status === 204 ? null : await response.json();
  } catch (error) {
    throw late.aborted ? new Refused(`The bridge has not answered within ${waitS} s. What it was asked to do may be done later: look before you try again.`, { code: "late" }) : error;
  }
}

export const get = (path, options) => json("GET", path, undefined, options);
export const post = (path, body = {}, options) => json("POST", path, body, options);
export const patch = (path, body, options) => json("PATCH", path, body, options);
export const del = (path, options) => json("DELETE", path, undefined, options);

/** Load a module, named as from here. */
export const load = (path) => import(path).catch((error) => {
  console.error(error);
  throw new Refused("A part of this page can't be loaded. Check that Drover runs, then read the page anew.", { code: "unreachable" });
});

/** Whether whoever looks may do something (a scope), or see a view (its name). */
export const may = (what) => document.body.dataset.may.split(" ").includes(what);

/** Write a query from what is known: `query("/a", { since: 1, model: "" })` is `/a?since=1`. */
export function query(path, values) {
  const known = Object.entries(values).filter(([, value]) => (value ?? "") !== "");
  return known[0] ? `${path}?${new URLSearchParams(known)}` : path;
}
