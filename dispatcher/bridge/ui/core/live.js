// What goes on in the fleet, for all views: the last of each kind that the stream told, and a hook for components.
import { script, useEffect, useState } from "./html.js";
import { LiveSource } from "./live-source.js";

const REST_MS = 20000;
const state = { link: "waiting", fleet: null, devices: null, jobs: [], queue: null, steady: null };
const hearers = new Set();

function take(kind, value) {
  state[kind] = value;
  for (const [heard, told] of hearers) if (heard === kind) told(value);
}

/** Begin to follow; once, by who is let in. */
export function follow() {
  let want;
  if (globalThis.SharedWorker) {
    const { port } = new SharedWorker(script(new URL("live-source.js", import.meta.url).href), { type: "module", name: "drover" });
    port.onmessage = ({ data }) => take(...data);
    want = (visible) => port.postMessage(visible);
  } else {
    const source = new LiveSource(take);
    want = (visible) => source.want(visible);
  }
  let rest = 0;
  const look = () => {
    clearTimeout(rest);
    if (document.hidden) rest = setTimeout(want, REST_MS, false);
    else want(true);
  };
  document.addEventListener("visibilitychange", look);
  addEventListener("pageshow", look);
  addEventListener("pagehide", () => want(null));
  look();
}

/** Hear each new value of a kind; gives how to stop. */
export function hear(kind, told) {
  const hearer = [kind, told];
  hearers.add(hearer);
  if (state[kind] !== null) told(state[kind]);
  return () => hearers.delete(hearer);
}

/** The last value of a kind (`link`, `fleet`, `devices`, `jobs`, `queue`), kept true while the component is there. */
export function useLive(kind) {
  const [value, set] = useState(state[kind]);
  useEffect(() => hear(kind, set), [kind]);
  return value;
}

/** The bridge's clock, in seconds: a browser's own may be wrong by hours. */
export const nowS = () => Date.now() / 1000 + state.steady;

/** The bridge's clock, told anew every `everyS` seconds while the component is there: for ages, and for what expires. */
export function useNow(everyS = 1) {
  const [now, set] = useState(nowS);
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && set(nowS()), everyS * 1000);
    return () => clearInterval(timer);
  }, [everyS]);
  return now;
}
