// A conversation as a tree of exchanges (a question and its answer), of which one branch is shown. It goes on while no view shows it.
import { get, post } from "../../core/api.js";
import { announce } from "../../core/parts.js";
import { BROKEN, chat, Reply } from "../../core/reply.js";

// Those that were asked something, until the ledger has it: where none is there, as long as the page.
const going = new Set();
const ASKED = "drover-asked";
/** What this page had asked when it was read anew, if the bridge had not taken it. */
export const asked = sessionStorage.getItem(ASKED);
// Once: who takes it out of the box is rid of it.
sessionStorage.removeItem(ASKED);
let born = 0;
let asker;
/** Keep what a conversation asked no longer: meanwhile another one may have asked. */
export const taken = (talk) => talk === asker && sessionStorage.removeItem(ASKED);
const path = (id) => `/api/v1/conversations/${id}`;

/** Look until it is found, for two seconds at most: what breaks off is kept a moment later. */
async function patiently(look) {
  for (let left = 8; left && !(await look()); left -= 1) await new Promise((done) => setTimeout(done, 250));
}

// What ended these answers needs no code: nothing failed.
const OWN = ["hangup", "interrupted", "cancelled", "pending"];

/** An answer that was given before this page was there. */
function was({ message: { content: text }, error, account, job, device, model, rating }) {
  const { code, message } = error ?? {};
  const phase = !error ? "done" : code === "cancelled" && text ? "stopped" : "failed";
  const says = !OWN.includes(code) ? error : text ? BROKEN : { message };
  return Object.assign(new Reply(), { text, rating, phase, pending: code === "pending", error: phase === "failed" && says, route: account ?? { job, device, model } });
}

class Talk {
  // Of the ledger.
  #head = null;
  root = { children: [], asked: "" };
  head = this.root;
  id = null;
  // By this its entry in the history finds it, which may have been left before there was an id.
  key = Math.random();
  // False where no ledger is there: then all of it is sent each time.
  kept = true;
  loaded = true;
  tell = () => {};
  again = () => this.load(this.id);

  get branch() {
    const shown = [];
    for (let one = this.head; one.parent; one = one.parent) shown.unshift(one);
    return shown;
  }

  get running() {
    return this.head.reply?.over === false;
  }

  /**
   * Ask behind an exchange, by default the last one of the branch. `wish` has the model, device, strategy, and `anew`. Gives the new
   * exchange if it got no word.
   */
  async ask(asked, wish, parent = this.head) {
    // No model is told of a question that got no word: the next one stands beside it, or takes its place.
    while (parent.reply?.lost) parent = parent.parent;
    parent.children = parent.children.filter((other) => !other.reply.lost || other.text !== asked.text);
    this.says = "";
    const reply = new Reply((signal) => this.#frames(one, signal));
    const one = (this.head = this.#add(parent, { ...asked, id: null, wish, reply }));
    this.tell();
    going.add(this);
    sessionStorage.setItem(ASKED, asked.text);
    asker = this;
    await reply.run();
    const { turn, kept, later, files } = reply.account.conversation ?? {};
    one.documents ??= files;
    if (turn) this.#head = one.id = turn;
    reply.unkept = kept === false && !later;
    if (this.id) going.delete(this);
    // Of what broke off a reload still offers to try again.
    if (!reply.error) {
      sessionStorage.removeItem(this.id);
      taken(this);
      announce(reply.phase === "stopped" ? "Stopped" : `Answer from ${reply.account.device ?? "the fleet"}: ${reply.text}`);
    }
    if (reply.lost && !reply.error && this.head === one) {
      parent.children = parent.children.filter((other) => other !== one);
      this.show(parent);
    }
    this.tell();
    return reply.lost && one;
  }

  /** Show another exchange, and the newest of what was said behind it. */
  show(one) {
    while (one.children.length) one = one.children.at(-1);
    this.head = one;
    this.tell();
  }

  stop() {
    this.head.reply?.stop();
  }

  /** Read it, and show the branch of a turn, by default the last one. */
  async load(id, turn) {
    let wanted;
    Object.assign(this, { id, loaded: false, error: null });
    // Where this page was left in the middle of an answer: its end is kept a moment later.
    const left = sessionStorage.getItem(id);
    try {
      await patiently(async () => {
        const found = await get(`${path(id)}/export?whole=true`);
        if (!this.running) wanted = this.#take(found).get(turn);
        return !left || (left !== `${this.#head}` && !this.head.reply?.pending);
      });
      if (wanted) this.show(wanted);
      this.loaded = true;
    } catch (error) {
      this.error = error;
    }
    this.tell();
  }

  /** Read it anew where it has gone on elsewhere; what only this page knows of stays. */
  async look() {
    if (document.hidden || !this.id || !this.loaded || this.running || (this.head.reply?.error && !this.head.id)) return;
    const { conversation } = await get(`${path(this.id)}?limit=1`).catch(() => ({}));
    if (conversation?.head && conversation.head !== this.#head && !this.running) this.load(this.id);
  }

  #take({ conversation, turns }) {
    const found = new Map();
    this.root.children = [];
    for (const turn of turns) {
      const { id, parent, given, message: { role, content, images } } = turn;
      const before = found.get(parent) ?? this.root;
      let one = before;
      if (role === "user") one = this.#add(before, { id, asked: id, text: [...content].slice(given?.begin).join(""), images: images.slice(0, given?.images), documents: given?.files, reply: was({ message: { content: "" }, error: BROKEN }) });
      if (role === "assistant") {
        if (before.asked !== parent) one = this.#add(before);
        else if (before.id !== parent) one = this.#add(before.parent, before);
        Object.assign(one, { id, reply: was(turn) });
      }
      found.set(id, one);
    }
    this.#head = conversation.head ?? null;
    this.head = found.get(this.#head) ?? this.root;
    return found;
  }

  #add(parent, said) {
    const one = { ...said, key: (born += 1), parent, children: [] };
    parent.children.push(one);
    return one;
  }

  async *#frames(one, signal) {
    await this.#goOnBehind(one.parent);
    try {
      for await (const frame of chat(this.#body(one), signal)) {
        if (frame.conversation) {
          sessionStorage.setItem(frame.conversation, this.#head);
          this.#begun(frame.conversation);
        }
        yield frame;
      }
    } catch (error) {
      if (error.talk) this.#begun(error.talk);
      if (this.id || error.code !== "ledger") throw error;
      this.kept = false;
      yield* chat(this.#body(one), signal);
    }
  }

  #begun(id) {
    sessionStorage.setItem(this.key, (this.id = id));
    taken(this);
    this.tell();
  }

  /** Have the ledger go on behind an exchange, where it would not do so by itself. */
  async #goOnBehind(parent) {
    if (!this.id || !this.kept) return;
    if (parent.reply && !parent.id) {
      await patiently(async () => {
        const { turns: [last] } = await get(`${path(this.id)}?limit=1`);
        if (last?.job === parent.reply.job && last.error?.code !== "pending") this.#head = parent.id = last.id;
        return parent.id;
      });
    }
    const turn = parent.id ?? null;
    if (turn === this.#head || (!turn && parent.reply)) return;
    await post(`${path(this.id)}/select`, { turn });
    this.#head = turn;
  }

  #body({ wish, files, documents, asked, text, images }) {
    const turn = (content, images) => ({ role: "user", content, images });
    const before = this.kept ? [] : this.branch.slice(0, -1).flatMap((one) => [turn(one.text, one.images), { role: "assistant", content: one.reply.text }]);
    return { ...wish, files, files_of: documents && !files ? asked : undefined, messages: [...before, turn(text, images)], conversation_id: this.kept ? this.id ?? "new" : undefined };
  }
}

export let open = new Talk();
addEventListener("visibilitychange", () => open.look());
// A reload that began before the address named the conversation reads the address, and its state, as they were then.
const LAST = "drover-last";
let last = performance.getEntriesByType("navigation")[0]?.type === "reload" && sessionStorage.getItem(LAST);
addEventListener("pagehide", () => sessionStorage.setItem(LAST, open.id ?? ""));
// The browser asks before an answer ends with its page.
onbeforeunload = () => [open, ...going].some((one) => one.running) || null;

/**
 * The conversation of an id, or else of this entry of the history, which may be under way; or the one that was open last, where the
 * entry has none yet. It is read by the branch of a turn, if one is named.
 */
export function talkOf(id, turn) {
  const { state } = history;
  id ||= state ? sessionStorage.getItem(state) : last;
  last = "";
  if (id || state) open = [open, ...going].find((one) => (id ? one.id === id : one.key === state)) ?? new Talk();
  if (id && (turn ? !open.running : !open.id)) open.load(id, turn);
  return open;
}

/** Another one; what is asked in the last goes on. */
export const newTalk = () => (open = new Talk());
