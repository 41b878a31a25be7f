// What goes on in the fleet, for all views: the last of each kind that the stream told, and a hook for components.
import { script, useEffect, useState } from "./html.js";
import { LiveSource, NOTHING } from "./live-source.js";

const REST_MS = 20000;
const state = { ...NOTHING };
const hearers = new Set();

function take(kind, value) {
  state[kind] = value;
  for (const [heard, told] of hearers) if (heard === kind) told(value);
}

/** Begin to follow; once, by who is let in. */
export function follow() {
  let want;
  let rest = 0;
  const look = () => {
    clearTimeout(rest);
    if (document.hidden) rest = setTimeout(want, REST_MS, false);
    else want(true);
  };
  const alone = () => {
    const source = new LiveSource(take);
    want = (visible) => source.want(visible);
    look();
  };
  if (globalThis.SharedWorker) {
    const worker = new SharedWorker(script(new URL("live-source.js", import.meta.url).href), { type: "module", name: "drover" });
    worker.port.onmessage = ({ data }) => take(...data);
    // Its script is gone, with its edition.
    worker.onerror = alone;
    want = (visible) => worker.port.postMessage(visible);
    look();
  } else alone();
  document.addEventListener("visibilitychange", look);
  addEventListener("pageshow", look);
  addEventListener("pagehide", () => want(null));
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
