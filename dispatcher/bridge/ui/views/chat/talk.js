// A conversation as a tree of exchanges (a question and its answer), of which one branch is shown. It goes on while no view shows it.
import { get, post } from "../../core/api.js";
import { announce } from "../../core/parts.js";
import { BROKEN, chat, Reply } from "../../core/reply.js";

const going = new Map();
const path = (id) => `/api/v1/conversations/${id}`;

/** Look until it is found, for two seconds at most: what breaks off is kept a moment later. */
async function patiently(look) {
  for (let left = 8; left && !(await look()); left -= 1) await new Promise((done) => setTimeout(done, 250));
}

/** An answer that was given before this page was there. */
const was = (text, broken, { job, device, model, rating } = {}) =>
  Object.assign(new Reply(), { text, job, device, model, rating, phase: broken ? "failed" : "done", error: broken && BROKEN });

class Talk {
  // Of the ledger.
  #head = null;
  root = { children: [], asked: "" };
  head = this.root;
  id = null;
  // False where no ledger is there: then all of it is sent each time.
  kept = true;
  // False while it is read: see `Read`.
  value = true;
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
   * exchange if it got no word, and stands nowhere else.
   */
  async ask(asked, wish, parent = this.head) {
    // A question that found no answer is given up with the next one: nobody has kept it.
    while (parent.reply?.phase === "failed" && !parent.reply.text) parent = this.#drop(parent);
    const reply = new Reply((signal) => this.#frames(one, signal));
    const one = (this.head = this.#add(parent, { ...asked, id: null, wish, reply }));
    this.tell();
    await reply.run();
    const { turn, kept, later, files } = reply.end?.route?.conversation ?? {};
    one.documents ??= files;
    if (turn) this.#head = one.id = turn;
    reply.unkept = kept === false && !later;
    going.delete(this.id);
    const lost = !reply.text && reply.phase !== "done";
    // Of what broke off a reload still offers to try again.
    if (lost || !reply.error) sessionStorage.removeItem(this.id);
    if (!reply.error) announce(reply.phase === "stopped" ? "Stopped" : `Answer from ${reply.account.device ?? "the fleet"}: ${reply.text}`);
    if (lost && !reply.error && this.head === one) this.show(this.#drop(one));
    this.tell();
    return lost && !parent.children.some((other) => other !== one && other.text === asked.text) && one;
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
    Object.assign(this, { id, value: false, error: null });
    // As this page was left.
    const asked = sessionStorage.getItem(id);
    const lost = () => asked !== null && this.head.text !== asked;
    try {
      await patiently(async () => {
        const found = await get(`${path(id)}/export?whole=true`);
        if (!this.running) wanted = this.#take(found).get(turn);
        return !lost();
      });
      if (lost()) this.head = this.#add(this.head, { text: asked, reply: was("", true) });
      sessionStorage.removeItem(id);
      if (wanted) this.show(wanted);
      this.value = true;
      this.recall(this.head);
    } catch (error) {
      this.error = error;
    }
    this.tell();
  }

  /** Read it anew where it has gone on elsewhere; what only this page knows of stays. */
  async look() {
    if (document.hidden || !this.id || !this.value || this.running || this.head.reply?.error) return;
    const { conversation } = await get(`${path(this.id)}?limit=1`).catch(() => ({}));
    if (conversation?.head && conversation.head !== this.#head && !this.running) this.load(this.id);
  }

  /** Have the figures of an answer that was given before this page was there: the ledger knows them. */
  async recall({ reply }) {
    if (!reply?.job || reply.end || !reply.over) return;
    const { record } = await get(`/api/v1/jobs/${reply.job}`).catch(() => ({}));
    if (!record) return;
    const { usage, engine } = record;
    const decode = engine.decode_s ?? record.total_s - record.first_token_s;
    const tps = decode > 0.001 ? usage.completion_tokens / decode : null;
    reply.end = { usage, route: { ...record, timings: { ...record, ...engine, decode_tps: tps } } };
    this.tell();
  }

  #take({ conversation, turns }) {
    const found = new Map();
    this.root.children = [];
    for (const { id, parent, given, message: { role, content, images }, ...turn } of turns) {
      const before = found.get(parent) ?? this.root;
      let one = before;
      if (role === "user") one = this.#add(before, { id, asked: id, text: [...content].slice(given?.begin).join(""), images: images.slice(0, given?.images), documents: given?.files, reply: was("", true) });
      if (role === "assistant") {
        if (before.asked !== parent) one = this.#add(before);
        else if (before.id !== parent) one = this.#add(before.parent, before);
        Object.assign(one, { id, reply: was(content, turn.broken_off, turn) });
      }
      found.set(id, one);
    }
    this.#head = conversation.head ?? null;
    this.head = found.get(this.#head) ?? this.root;
    return found;
  }

  #add(parent, said) {
    const one = { ...said, parent, children: [] };
    parent.children.push(one);
    return one;
  }

  #drop(one) {
    one.parent.children = one.parent.children.filter((other) => other !== one);
    return one.parent;
  }

  async *#frames(one, signal) {
    await this.#goOnBehind(one.parent);
    try {
      for await (const frame of chat(this.#body(one), signal)) {
        if (frame.conversation) {
          this.id = frame.conversation;
          going.set(this.id, this);
          sessionStorage.setItem(this.id, one.text);
          this.tell(true);
        }
        yield frame;
      }
    } catch (error) {
      if (this.id || error.code !== "ledger") throw error;
      this.kept = false;
      yield* chat(this.#body(one), signal);
    }
  }

  /** Have the ledger go on behind an exchange, where it would not do so by itself. */
  async #goOnBehind(parent) {
    if (!this.id || !this.kept) return;
    if (parent.reply && !parent.id) {
      await patiently(async () => {
        const { turns: [last] } = await get(`${path(this.id)}?limit=1`);
        if (last?.job === parent.reply.job) this.#head = parent.id = last.id;
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

let open = new Talk();
addEventListener("visibilitychange", () => open.look());
// The browser asks before an answer ends with its page.
onbeforeunload = () => open.running || null;

/** The conversation that was open last, or that of an id, which may be under way; else by the branch of a turn, if one is named. */
export function talkOf(id, turn) {
  if (id && id !== open.id) open = going.get(id) ?? new Talk();
  if (id && (turn ? !open.running : !open.id)) open.load(id, turn);
  return open;
}

export function newTalk() {
  open.stop();
  return (open = new Talk());
}
