// The one stream of what goes on, and what is known from it: in the worker that all tabs share, or in a page that has none.
const AGAIN_MS = [1000, 60000];
const MOST_JOBS = 300;

/** Follows `/ui/events` while it is wanted, and calls `tell(kind, value)` for whatever changes. */
export class LiveSource {
  #tell;
  #source = null;
  #timer = 0;
  #wait = AGAIN_MS[0];
  state = { link: "waiting", fleet: null, devices: null, jobs: [], queue: null, steady: null };

  constructor(tell) {
    this.#tell = tell;
  }

  /** Follow, or stop: nobody looks at hidden tabs, and what they show is told anew when they are seen. Who comes waits for nothing. */
  want(wanted) {
    if (!wanted) this.#close("resting");
    else if (!this.#source) this.#open();
  }

  #open() {
    clearTimeout(this.#timer);
    const source = new EventSource("/ui/events");
    this.#source = source;
    source.onopen = () => {
      this.#wait = AGAIN_MS[0];
      this.#set("link", "live");
    };
    source.onerror = () => {
      // Also where the browser would try again by itself: it does so every three seconds, for ever, and in step with all others.
      this.#close("lost");
      this.#timer = setTimeout(() => this.#open(), this.#wait * (0.5 + Math.random()));
      this.#wait = Math.min(this.#wait * 2, AGAIN_MS[1]);
    };
    source.addEventListener("end", ({ data }) => JSON.parse(data).error.code === "unauthorized" && this.#close("stranger"));
    for (const [kind, read] of Object.entries(KINDS)) {
      source.addEventListener(kind, ({ data }) => this.#set(kind, read(JSON.parse(data), this.state[kind])));
    }
  }

  #close(link) {
    this.#source?.close();
    this.#source = null;
    clearTimeout(this.#timer);
    this.#set("link", link);
  }

  #set(kind, value) {
    this.state[kind] = value;
    this.#tell(kind, value);
  }
}

/** What each event says, given what was known. */
const KINDS = { fleet: (told) => told, queue: (told) => told, steady: (told) => told.now_unix_s - Date.now() / 1000, devices, jobs };

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
    for (const port of ports.keys()) port.postMessage(told);
  });
  globalThis.onconnect = ({ ports: [port] }) => {
    port.onmessage = ({ data: visible }) => {
      ports.set(port, visible);
      if (visible === null) ports.delete(port);
      source.want([...ports.values()].includes(true));
    };
    for (const known of Object.entries(source.state)) port.postMessage(known);
  };
}
