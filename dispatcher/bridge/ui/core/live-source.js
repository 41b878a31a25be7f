// The one stream of what goes on, and what is known from it: in the worker that all tabs share, or in a page that has none.
import { events, refusal, send } from "./api.js";

const AGAIN_MS = [1000, 60000];
const MOST_JOBS = 300;
/** The channel on which a tab tells all others, and the worker, that its user has logged out. */
export const LEFT = "drover-left";

/** What is known before anything is told. `user` is who is told, and `why` says why nothing is. */
export const NOTHING = { link: "waiting", user: null, why: null, fleet: null, devices: null, jobs: [], queue: null, steady: null };

/** Follows `/ui/events` while it is wanted, and calls `tell(kind, value)` for whatever changes. */
export class LiveSource {
  #tell;
  #going = null;
  #timer = 0;
  #wait = AGAIN_MS[0];
  // Three times the bridge's `steady_s`, which it tells first.
  #silent = 15000;
  state = { ...NOTHING };

  constructor(tell) {
    this.#tell = tell;
    // The bridge goes on to tell: the key is still good.
    new BroadcastChannel(LEFT).onmessage = () => this.#lose({ code: "unauthorized" });
  }

  /** Follow, or stop: nobody looks at hidden tabs, and what they show is told anew when they are seen. Who comes waits for nothing. */
  want(wanted) {
    if (!wanted) this.#close("resting");
    else if (!this.#going) this.#follow();
  }

  // Not by an `EventSource`: that tells neither what the bridge says when it refuses, nor that it has fallen silent.
  async #follow() {
    const going = (this.#going = new AbortController());
    let fault;
    try {
      this.#listen();
      const stream = await send("GET", "/ui/events", undefined, going);
      this.#wait = AGAIN_MS[0];
      this.#set("link", "live");
      for await (const [kind, told] of events(stream)) if (this.#going === going) this.#take(kind, told);
    } catch (refused) {
      fault = refused;
    }
    if (this.#going === going) this.#lose(fault);
  }

  #listen() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lose(), this.#silent);
  }

  #take(kind, told) {
    this.#listen();
    if (kind === "end") throw refusal(told.error);
    if (kind !== "hello") return this.#set(kind, KINDS[kind]?.(told, this.state[kind]) ?? told);
    this.#silent = 3000 * told.steady_s;
    this.#serve(told.tenant + told.own);
  }

  /** What one user was told is not for the next. */
  #serve(user) {
    if (user === this.state.user) return;
    for (const known of Object.entries({ ...NOTHING, link: this.state.link, user })) this.#set(...known);
  }

  #lose({ code, message } = {}) {
    if (code === "unauthorized") {
      this.#serve(null);
      this.#close("waiting");
      // It is not kept: whoever looks next may have come in.
      return this.#tell("link", "stranger");
    }
    this.#set("why", message);
    this.#close("lost");
    this.#timer = setTimeout(() => this.#follow(), this.#wait * (0.5 + Math.random()));
    this.#wait = Math.min(this.#wait * 2, AGAIN_MS[1]);
  }

  #close(link) {
    this.#going?.abort();
    this.#going = null;
    clearTimeout(this.#timer);
    this.#set("link", link);
  }

  #set(kind, value) {
    this.state[kind] = value;
    this.#tell(kind, value);
  }
}

/** What an event says, given what was known; others are known as they are told. */
const KINDS = { steady: (told) => told.now_unix_s - Date.now() / 1000, devices, jobs };

/** The cards by name, with those that changed; of others that were heard only the time is told. */
function devices({ whole, devices: changed = [], seen = {}, gone = [] }, old) {
  const found = new Map(whole ? [] : old?.map((one) => [one.name, seen[one.name] ? { ...one, seen_unix_s: seen[one.name] } : one]));
  for (const one of changed) found.set(one.name, one);
  for (const name of gone) found.delete(name);
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The newest jobs first; what is told of one is added to what was known. Told as a whole, what is not named does not run any more. */
function jobs({ whole, jobs: changed }, old) {
  const found = new Map(old.filter((one) => !whole || one.ended_unix_s).map((one) => [one.id, one]));
  for (const one of changed) found.set(one.id, { ...found.get(one.id), ...one });
  return [...found.values()].sort((a, b) => (a.id < b.id ? 1 : -1)).slice(0, MOST_JOBS);
}

/** As the script of a worker: one stream for all tabs of a browser, and none while nobody looks. */
if ("onconnect" in globalThis) {
  const ports = new Map();
  const source = new LiveSource((...told) => {
    for (const [port, visible] of ports) if (visible) port.postMessage(told);
  });
  globalThis.onconnect = ({ ports: [port] }) => {
    port.onmessage = ({ data: visible }) => {
      ports.set(port, visible);
      if (visible === null) ports.delete(port);
      source.want([...ports.values()].includes(true));
      if (visible) for (const known of Object.entries(source.state)) port.postMessage(known);
    };
  };
}
