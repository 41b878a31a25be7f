// The chat page: the conversation, the composer, and one question at a time.
import { element } from "/ui/dom.js";
import { fillModels, watchFleet } from "/ui/fleet.js";
import { Growing } from "/ui/markdown.js";
import { routeLine, waitingText } from "/ui/route.js";
import { chat, ChatError } from "/ui/stream.js";

const byId = (id) => document.getElementById(id);
const [talk, composer, prompt, picker] = ["talk", "composer", "prompt", "model"].map(byId);
const [send, stop, hello, latest, announcer] = ["send", "stop", "hello", "latest", "announce"].map(byId);

/** The turns so far, as the API takes them; they live in this page and nowhere else. */
let turns = [];
let running = null;

async function ask(text) {
  // A question that found no answer is given up with the next one, and so is its "Try again".
  if (turns.at(-1)?.role === "user") turns.pop();
  for (const button of talk.querySelectorAll(".again")) button.remove();
  turns.push({ role: "user", content: text });
  talk.append(element("li", { class: "turn mine" }, element("div", { class: "bubble" }, text)));
  hello.hidden = true;
  await answer();
}

async function answer({ anew = false } = {}) {
  // A new chat takes new turns; what comes in late still belongs to these.
  const mine = turns;
  const view = new AnswerView();
  talk.append(view.node);
  toEnd();
  const abort = new AbortController();
  running = abort;
  busy(true);
  try {
    const question = { model: picker.value, messages: mine, anew, signal: abort.signal };
    for await (const event of chat(question)) view.take(event);
    view.complete();
    mine.push({ role: "assistant", content: view.text });
  } catch (error) {
    fail(view, error, abort.signal.aborted, mine);
  } finally {
    if (running === abort) {
      running = null;
      busy(false);
    }
    follow();
  }
}

function fail(view, error, stopped, mine) {
  if (stopped) {
    view.stopped();
    // What was read stays in the conversation; an answer of nothing would only confuse the next one.
    if (view.text) mine.push({ role: "assistant", content: view.text });
    else mine.pop();
    return;
  }
  if (!(error instanceof ChatError)) console.error(error);
  view.failed(error, () => {
    view.node.remove();
    answer({ anew: true });
  });
}

/** One answer on the page: waiting, growing, done, stopped or failed. */
class AnswerView {
  constructor() {
    this.began = performance.now();
    this.firstTokenS = null;
    this.account = null;
    this.standing = {};
    this.status = element("p", { class: "waiting" }, element("span", { class: "pulse", "aria-hidden": "true" }), element("span", {}));
    this.words = element("div", { class: "words", "aria-busy": "true" });
    this.node = element("li", { class: "turn theirs" }, element("span", { class: "unseen" }, "Answer:"), this.status, this.words);
    this.growing = new Growing(this.words);
    this.clock = setInterval(() => this.showWaiting(), 1000);
    this.showWaiting();
  }

  get text() {
    return this.growing.text;
  }

  take(event) {
    if (event.kind === "text") this.addText(event.text);
    else if (event.kind === "end") this.account = event.account;
    else {
      this.standing = event;
      this.showWaiting();
    }
  }

  addText(text) {
    if (this.firstTokenS === null) {
      this.firstTokenS = (performance.now() - this.began) / 1000;
      this.endWaiting();
    }
    this.growing.add(text, follow);
  }

  showWaiting() {
    const waited = Math.floor((performance.now() - this.began) / 1000);
    const says = waitingText(this.standing);
    // The estimate changes each second; only another step or place is news.
    const { phase, device, position } = this.standing;
    const step = [phase, device, position].join();
    if (step !== this.step) announce(says);
    this.step = step;
    this.status.lastChild.textContent = waited >= 2 ? `${says} · ${waited} s` : says;
  }

  endWaiting() {
    clearInterval(this.clock);
    this.status.remove();
  }

  settle() {
    this.endWaiting();
    this.words.removeAttribute("aria-busy");
    if (this.text) this.growing.finish();
    copyButtons(this.words);
  }

  complete() {
    this.settle();
    if (!this.text) this.words.append(element("p", { class: "note" }, "The model gave no text."));
    this.node.append(routeLine(this.account ?? {}, { firstTokenS: this.firstTokenS }));
    announce(`Answer from ${this.account?.device ?? "the fleet"}: ${this.words.textContent}`);
  }

  stopped() {
    this.settle();
    this.node.append(element("p", { class: "note" }, "Stopped. The device was told to end the job."));
    announce("Stopped");
  }

  failed(error, retry) {
    this.settle();
    const again = element("button", { type: "button", class: "again" }, "Try again");
    again.addEventListener("click", retry, { once: true });
    const wait = error.retryAfter ? ` The fleet suggests to wait ${Math.ceil(error.retryAfter)} s.` : "";
    const title = this.text ? "The answer broke off" : "No answer";
    this.node.append(
      element(
        "div",
        { class: "error", role: "alert" },
        element("strong", {}, title),
        element("p", {}, sentence(error.message) + wait),
        element("div", { class: "row" }, again, error.code && element("code", {}, error.code)),
      ),
    );
  }
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

function copyButtons(node) {
  // Without a secure context (plain http from another machine) there is no clipboard to write to.
  if (!navigator.clipboard) return;
  for (const block of node.querySelectorAll("pre")) {
    const copy = element("button", { type: "button", class: "copy" }, "Copy");
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(block.textContent);
      copy.textContent = "Copied";
      setTimeout(() => (copy.textContent = "Copy"), 1500);
    });
    const frame = element("div", { class: "code" });
    block.replaceWith(frame);
    frame.append(block, copy);
  }
}

function busy(on) {
  send.hidden = on;
  stop.hidden = !on;
}

function announce(text) {
  announcer.textContent = text;
}

const page = document.scrollingElement;
const atEnd = () => page.scrollHeight - page.scrollTop - page.clientHeight < 120;
let following = true;
addEventListener("scroll", () => {
  following = atEnd();
  latest.hidden = following;
}, { passive: true });

function toEnd() {
  following = true;
  page.scrollTop = page.scrollHeight;
}

function follow() {
  if (following) toEnd();
  else latest.hidden = false;
}

function fit() {
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = prompt.value.trim();
  if (!text || running) return;
  prompt.value = "";
  fit();
  prompt.focus();
  ask(text);
});

prompt.addEventListener("input", fit);
prompt.addEventListener("keydown", (event) => {
  // While an input method composes a character, Enter belongs to it.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    composer.requestSubmit();
  }
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
stop.addEventListener("click", () => {
  running?.abort();
  prompt.focus();
});
latest.addEventListener("click", toEnd);
picker.addEventListener("focus", () => fillModels(picker));
byId("new-chat").addEventListener("click", () => {
  running?.abort();
  turns = [];
  talk.replaceChildren();
  hello.hidden = false;
  latest.hidden = true;
  prompt.focus();
});
for (const idea of document.querySelectorAll(".idea")) {
  idea.addEventListener("click", () => {
    prompt.value = idea.textContent;
    fit();
    composer.requestSubmit();
  });
}

fillModels(picker);
watchFleet(byId("fleet"), byId("fleet-text"), byId("herd"));
