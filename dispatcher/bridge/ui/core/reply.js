// One answer from the question to its end: the request and its frames, where it stands, what it says, and how that is shown.
import { del, events, refusal, send } from "./api.js";
import { Badge } from "./badge.js";
import { duration } from "./format.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { useNow } from "./live.js";
import { growing } from "./markdown.js";
import { Refusal } from "./parts.js";

/** Of what has no end, whoever ended it. */
export const BROKEN = { message: "It ended before it was complete." };
const PHASES = { queue: "queued", route: "routed", load: "loading", prefill: "prefill", decode: "writing", tok: "writing" };
const SAYS = {
  sent: () => "Waiting for the fleet",
  queued: ({ position }) => `Queued${position ? `, position ${position}` : ""}`,
  routed: ({ device }) => `Sent to ${device}`,
  loading: ({ device, model }) => `Loading ${model} on ${device}`,
  prefill: ({ device }) => `${device} reads your message`,
  writing: ({ device }) => `${device} writes`,
};

/**
 * Ask, and give what comes: first `{ t: "open", job, conversation }`, then the frames of docs/http.md (`ack`, `ka`, `route`, `tok`),
 * and `end` last. Aborting `signal` closes the connection, which cancels the job. `anew` wants no answer that was given before.
 * Throws `Refused`, also for an answer that broke off.
 */
export async function* chat({ anew, ...asked }, signal) {
  const headers = anew && { "cache-control": "no-cache" };
  const response = await send("POST", "/api/v1/chat", { priority: "interactive", ...asked, stream: true }, { signal, headers });
  const [job, conversation] = ["job", "conversation"].map((name) => response.headers.get(`x-drover-${name}`));
  yield { t: "open", job, conversation };
  for await (const [, frame] of events(response)) {
    if (frame.t === "err") throw refusal(frame);
    yield frame;
    if (frame.t === "end") return;
  }
  throw refusal(BROKEN);
}

/**
 * An answer. `asked` is what `chat` takes, or a function of a signal that gives the frames. `phase` is sent, queued, routed, loading,
 * prefill, writing, and at last done, stopped or failed; `error` says why. `account` is what is known of the job: at last
 * it is `route`, that of the last frame with its `energy` and `usage`. It goes on while no view shows it.
 */
export class Reply {
  #abort = new AbortController();
  #hearers = new Set();
  phase = "sent";
  text = "";
  device = "a device";
  begunMs = Date.now();

  constructor(asked) {
    this.asked = asked;
  }

  get over() {
    return !(this.phase in SAYS);
  }

  get account() {
    return this.route ?? this;
  }

  /** Whether it ended without a word, though not because there was none to say. */
  get lost() {
    return this.over && this.phase !== "done" && !this.text;
  }

  /** Ask. Resolves when it is over, and never throws. */
  async run() {
    const { asked } = this;
    const { signal } = this.#abort;
    try {
      for await (const frame of typeof asked === "function" ? asked(signal) : chat(asked, signal)) this.#take(frame);
      this.#stand({ phase: "done" });
    } catch (error) {
      this.#stand(error.code === "cancelled" ? { phase: "stopped" } : { phase: "failed", error });
    }
  }

  /** Cancel the job; what was written stays. */
  stop() {
    if (this.over) return;
    this.#stand({ phase: "stopped" });
    const leave = () => this.#abort.abort();
    if (!this.job) return leave();
    // Who only leaves has not stopped it: its last word is waited for.
    del(`/api/v1/jobs/${this.job}`).catch(leave);
    setTimeout(leave, 3000);
  }

  /** Call `told` when something changed; gives how to stop. */
  hear(told) {
    this.#hearers.add(told);
    return () => this.#hearers.delete(told);
  }

  #take(frame) {
    if (this.over) return;
    const { t, phase = t, position, eta_ms: etaMs } = frame;
    if (t === "tok") this.text += frame.d;
    else if (t === "route") {
      const { device, model, reason, attempt } = frame;
      // The device that it was on is lost, or too slow: what it wrote stays, and the next goes on behind that.
      if (attempt > 1 && device !== this.device) this.movedFrom = this.device;
      Object.assign(this, { device, model, reason });
    } else if (t === "end") this.route = { ...frame.route, energy: frame.energy, usage: frame.usage };
    else this.job = frame.job ?? this.job;
    this.#stand({ phase: PHASES[phase] ?? this.phase, position, etaMs: etaMs && Date.now() + etaMs });
  }

  #stand(changed) {
    if (this.over) return;
    Object.assign(this, changed);
    for (const told of this.#hearers) told();
  }
}

/** Draw a component anew when the reply's phase or place changed; its text is `ReplyText`'s. */
function useReply(reply) {
  const [, set] = useState();
  useEffect(() => reply.hear(() => set([reply.phase, reply.device, reply.position, reply.etaMs].join())), [reply]);
}

/** The line that says what is waited for, and for how long already. */
export function Waiting({ reply }) {
  useNow(1);
  const { phase, movedFrom, begunMs, etaMs } = reply;
  const leftS = (etaMs - Date.now()) / 1000;
  const waitedS = Math.floor((Date.now() - begunMs) / 1000);
  return html`<p class="waiting">${movedFrom && `${movedFrom} is lost. `}${SAYS[phase]?.(reply)}${leftS >= 1 && `, about ${duration(leftS)}`}${waitedS >= 2 && ` · ${duration(waitedS)}`}</p>`;
}

/** The text of an answer, drawn as it comes. */
function ReplyText({ reply }) {
  const node = useRef();
  useLayoutEffect(() => {
    node.current.replaceChildren();
    const grow = growing(node.current);
    let [frame, freeMs] = [0, 0];
    const draw = () => {
      cancelAnimationFrame(frame);
      frame = 0;
      const begunMs = performance.now();
      if (begunMs < freeMs && !reply.over) return soon();
      grow(reply.text, reply.over);
      node.current.ariaBusy = reply.over ? null : "true";
      // Drawing takes a fifth of the time at most, or a list of a thousand lines would keep whoever types from typing.
      freeMs = performance.now() * 5 - begunMs * 4;
    };
    const soon = () => (frame ||= requestAnimationFrame(draw));
    draw();
    const leave = reply.hear(() => (reply.over ? draw() : soon()));
    return () => {
      leave();
      cancelAnimationFrame(frame);
    };
  }, [reply]);
  return html`<div class="words" ref=${node}></div>`;
}

/** All of an answer: its text, what it waits for, what became of it, and the line under that. */
export function Answer({ reply, again }) {
  useReply(reply);
  const { account, error, over, phase, text } = reply;
  return html`<${ReplyText} reply=${reply} />
    ${!over && html`<${Waiting} reply=${reply} />`}
    ${phase === "stopped" && html`<p class="note">Stopped.</p>`}
    ${phase === "done" && !text && html`<p class="note">The model gave no text.</p>`}
    <${Refusal} title=${text ? "The answer broke off" : "No answer"} error=${error} again=${error?.code !== "context_length_exceeded" && again} />
    ${over && (text || !error) && account.job && html`<${Badge} account=${account} />`}`;
}
