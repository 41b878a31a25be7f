// Chat: one conversation, and the question that comes next.
import { post, query } from "../core/api.js";
import { bytes } from "../core/format.js";
import { html, useEffect, useLayoutEffect, useState } from "../core/html.js";
import { ModelPicker, StrategyPicker, useModels } from "../core/models.js";
import { announce, Page, Read, Refusal, Sheet, useAct } from "../core/parts.js";
import { Answer } from "../core/reply.js";
import { asked, newTalk, open, taken, talkOf } from "./chat/talk.js";

const IDEAS = ["Why is the sky blue?", "Write a haiku about a herd of small computers."];
const WHOLE = "drover-whole-answers";
const NONE = { types: [] };
// What was chosen and typed stays while another view is open.
const wish = { model: "auto" };
const DRAFT = "drover-draft";
const BACK = "Your question is back in its box";
const draft = { text: [asked, sessionStorage.getItem(DRAFT)].filter(Boolean).join("\n\n"), files: [] };
let back = asked;
const write = (text) => sessionStorage.setItem(DRAFT, (draft.text = text));
write(draft.text);
const page = document.scrollingElement;
let following = true;

const field = () => document.getElementById("message");
const toEnd = () => {
  following = true;
  page.scrollTop = page.scrollHeight;
};
const ask = (talk, asked, how = { ...wish }, parent) => {
  talk.ask(asked, how, parent).then((one) => one && wordless(talk, one));
  toEnd();
  // Not before a sheet is gone.
  setTimeout(() => field()?.focus());
};
/** What was typed and got no word goes back into its box, where it is gone or nobody takes it as it stands. */
const wordless = (talk, { text, box, reply: { error } }) => {
  if (!box || talk !== open || draft.text || draft.files[0] || (error && !(error.status <= 422))) return;
  write(text);
  taken(talk);
  draft.files = box;
  if (field()) field().value = text;
  talk.says = BACK;
  talk.tell();
  announce(talk.says);
};
// While an input method composes a character, Enter belongs to it.
const sends = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  event.target.form.requestSubmit();
};

export default function Chat() {
  const [talk, set] = useState(() => {
    const wanted = new URLSearchParams(location.search);
    const talk = talkOf(wanted.get("c"), wanted.get("turn"));
    if (back) announce((talk.says = `${BACK}: the page was read anew before it was taken`));
    back = false;
    return talk;
  });
  const [, redraw] = useState();
  const known = useModels();
  const more = useFollowing();
  talk.tell = () => redraw({});
  // The address names the conversation, for a reload and for whoever comes back: at once, since from then on the box does not keep it.
  useLayoutEffect(() => history.replaceState(talk.key, "", query("/", { c: talk.id })), [talk, talk.id]);
  const fresh = () => {
    const next = newTalk();
    if (talk.id || branch[0]) history.pushState(next.key, "", "/");
    set(next);
    field().focus();
  };
  const choose = (name) => (value) => {
    wish[name] = value || undefined;
    redraw({});
  };
  const { branch } = talk;
  return html`<${Page} title="Chat" beside=${html`<div class="row">
      <button onClick=${fresh}>New chat</button>
      <label class="check"><input type="checkbox" class="whole" defaultChecked=${localStorage.getItem(WHOLE)}
        onChange=${({ target }) => localStorage.setItem(WHOLE, target.checked ? "yes" : "")} /> Show answers when complete</label>
    </div>`}>
    ${!talk.kept && html`<p class="note">Nothing is kept: no ledger runs. This conversation ends with the page.</p>`}
    <${Refusal} error=${known.error} again=${known.again} />
    <${Read} read=${{ ...talk, value: talk.loaded }}>${() => !branch.length && html`<section class="hello">
      <h2>Ask your fleet</h2>
      <p>Each question goes to the device that suits it best. Under every answer stands which one it was, and why.</p>
      <div class="row">${IDEAS.map((text) => html`<button class="idea" onClick=${() => ask(talk, { text })}>${text}</button>`)}</div>
    </section>`}<//>
    <ol class="talk" aria-label="Conversation">${branch.map((one) => html`<${Turn} key=${one.key} talk=${talk} one=${one} known=${known} />`)}</ol>
    <div class="dock">
      ${more && html`<button class="latest" onClick=${toEnd}>Newest text</button>`}
      <${Composer} talk=${talk} limits=${known.limits}>
        <${ModelPicker} known=${known} value=${wish.model} choose=${choose("model")} />
        <${StrategyPicker} known=${known} value=${wish.strategy ?? ""} choose=${choose("strategy")} />
      <//>
    </div>
  <//>`;
}

/** Follow the end while it is in sight; gives whether there is more by now below what is. */
function useFollowing() {
  const [more, set] = useState(false);
  useEffect(() => {
    const look = () => {
      following = page.scrollHeight - page.scrollTop - page.clientHeight < 120;
      if (following) set(false);
    };
    const grown = new ResizeObserver(() => {
      if (!following) set(true);
      else if (document.querySelector(".turn")) toEnd();
    });
    grown.observe(document.body);
    addEventListener("scroll", look);
    return () => {
      grown.disconnect();
      removeEventListener("scroll", look);
    };
  }, []);
  return more;
}

/** One exchange: the question, its answer, and what can be done with both. */
function Turn({ talk, one, known }) {
  const [open, set] = useState(false);
  const { reply, text, parent, wish: wished } = one;
  const again = (changed, wish) => ask(talk, { ...one, box: null, ...changed }, { ...wished, anew: true, ...wish }, parent);
  const opens = (label) => html`<button class="quiet" onClick=${() => set(true)}>${label}</button>`;
  return html`<li class="turn">
    <h2 class="unseen">Question and answer</h2>
    ${text !== undefined && html`<${Question} talk=${talk} one=${one}>${opens("Edit")}<//>`}
    <div class="theirs" role="group" aria-label="Answer">
      <${Answer} reply=${reply} again=${() => again()} />
      ${reply.unkept && html`<p class="note">This answer could not be kept.</p>`}
      ${reply.over && reply.text && html`<div class="row does">
        ${reply.account.job && html`<${Thumb} talk=${talk} reply=${reply} rating="up" label="Good answer" /><${Thumb} talk=${talk} reply=${reply} rating="down" label="Bad answer" />`}
        <button class="quiet copy">Copy</button>
        ${text && opens("Ask elsewhere")}
      </div>`}
    </div>
    ${open && html`<${AskAgain} text=${text} wished=${wished?.model} known=${known} again=${again} close=${() => set(false)} />`}
  </li>`;
}

function Question({ talk, one, children }) {
  const { text, images = [], files = [], documents = files, parent: { children: beside } } = one;
  const at = beside.indexOf(one);
  const step = (by, sign, label) => html`<button class="quiet" aria-label=${label} disabled=${!beside[at + by]}
    onClick=${() => talk.show(beside[at + by])}>${sign}</button>`;
  return html`<div class="mine">
    <div class="bubble" role="group" aria-label="Question" tabindex=${text.length > 1500 && 0}>
      ${images.map((data, number) => html`<img src=${`data:image/*;base64,${data}`} alt=${`Image ${number + 1} of the question`} />`)}
      ${documents.map(({ name, pages, read }) => html`<span class="file"><bdi>${name}</bdi> <small>PDF${pages && `, ${pages} page${pages > 1 ? "s" : ""}`}${read < pages && `, ${read} read`}</small></span>`)}${text}
    </div>
    <div class="row does">
      ${beside[1] && html`<span class="row branches" role="group" aria-label="Ways that this was asked">
        ${step(-1, "‹", "The one before")}<span>${at + 1}/${beside.length}</span>${step(1, "›", "The next one")}
      </span>`}
      ${children}
    </div>
  </div>`;
}

function Thumb({ talk, reply, rating, label }) {
  const { act, error } = useAct();
  const given = reply.rating === rating;
  const give = async () => {
    await post("/api/v1/feedback", { job: reply.account.job, rating: given ? null : rating });
    reply.rating = !given && rating;
    talk.tell();
    announce(given ? "Your thumb is taken back" : `Thanks: thumb ${rating}`);
  };
  return html`<button class="quiet thumb" aria-pressed=${given} onClick=${() => act(give)}>${label}</button><${Refusal} error=${error} />`;
}

/** The question once more, in other words or of another device that has the model. */
function AskAgain({ text, wished, known: { models, devices }, again, close }) {
  const places = models.find(({ name }) => name === wished)?.devices ?? devices.map(({ name }) => name);
  const send = (event) => {
    event.preventDefault();
    const now = event.target.question.value.trim();
    close();
    again({ text: now }, { device: event.submitter?.value || undefined, anew: now === text });
  };
  return html`<${Sheet} title="Ask again" close=${close}><form onSubmit=${send}>
    <textarea name="question" rows="3" aria-label="Your question" autofocus defaultValue=${text} onKeyDown=${sends}></textarea>
    <div class="row"><button class="primary">Ask the fleet</button>${places.map((name) => html`<button value=${name}>Ask ${name}</button>`)}</div>
  </form><//>`;
}

const read = (file) =>
  new Promise((done) => {
    const reader = new FileReader();
    reader.onloadend = () => done(reader.result?.split(",")[1]);
    reader.readAsDataURL(file);
  });

let reading = 0;

/** Where a question is written, with the files that go with it. */
function Composer({ talk, limits: { images = NONE, documents = NONE, upload_bytes: room = 0 }, children }) {
  const { files } = draft;
  const [fault, refuse] = useState("");
  const types = [...images.types, ...documents.types];
  const limits = types[0] ? `${types.join(", ").replace(/\w+\//g, "").toUpperCase()}: ${images.per_message} images and ${documents.per_message} PDFs, ${bytes(room / 1.34)} together; of an image up to ${images.pixels / 1e6} megapixels, of a PDF the first ${documents.pages} pages.` : "";
  const change = (all) => {
    draft.files = all;
    talk.tell();
  };
  const add = async (added) => {
    let wrong = "";
    reading += 1;
    for (const file of [...added]) {
      const { name, size, type } = file;
      const pdf = documents.types.includes(type);
      const may = pdf ? documents : images;
      // What the browser can't read as an image the bridge refuses.
      const { width, height } = await createImageBitmap(file).catch(() => ({}));
      const data = size * 1.34 < room && (await read(file));
      const all = draft.files;
      if (!size) wrong = `${name} is empty.`;
      else if (!may.types.includes(type)) wrong = `${name} is none of these. ${limits}`;
      else if (all.filter((one) => one.pdf === pdf).length >= may.per_message) wrong = `${name} is one too many. ${limits}`;
      else if (all.reduce((sum, one) => sum + one.size, size) * 1.34 > room) wrong = `${name} is too large. ${limits}`;
      else if (width * height > may.pixels) wrong = `${name} has too many pixels. ${limits}`;
      else if (!data) wrong = `${name} can't be read.`;
      else change([...all, { name, size, pdf, data }]);
    }
    reading -= 1;
    refuse(wrong);
  };
  const drop = (dropped) => {
    change(files.filter((one) => one !== dropped));
    announce(`${dropped.name} removed`);
    field().focus();
  };
  const send = (event) => {
    event.preventDefault();
    const text = field().value.trim();
    if (talk.running) {
      if (event.submitter) talk.stop();
      else refuse("Wait for the answer, or stop it.");
    } else if (!talk.loaded || reading) refuse("Wait until all is read.");
    else if (text || files.length) {
      write((field().value = ""));
      change([]);
      ask(talk, { text, box: files, images: files.flatMap(({ pdf, data }) => (pdf ? [] : data)), files: files.flatMap(({ pdf, name, data }) => (pdf ? { name, data } : [])) });
    }
    field().focus();
  };
  // What was wrong then is not now.
  useEffect(() => refuse(""), [talk.running]);
  const keys = (event) => {
    if (event.key === "Escape" && !event.isComposing) talk.stop();
    sends(event);
  };
  return html`<form class="composer" aria-label="Write a message" onSubmit=${send}>
    ${fault && html`<p class="refused" role="alert">${fault}</p>`}
    ${talk.says && html`<p class="note">${talk.says}</p>`}
    ${files[0] && html`<ul class="files" aria-label="Files of the message">${files.map((one) => html`
      <li>${!one.pdf && html`<img src=${`data:image/*;base64,${one.data}`} alt="" />`}<span><bdi>${one.name}</bdi> <small>${bytes(one.size)}</small></span>
        <button type="button" class="quiet" aria-label=${`Remove ${one.name}`} onClick=${() => drop(one)}>✕</button></li>`)}</ul>`}
    <textarea id="message" rows="1" aria-label="Your message" placeholder="Ask anything" enterkeyhint="send" autofocus
      defaultValue=${draft.text} onInput=${({ target }) => write(target.value)} onKeyDown=${keys} onPaste=${({ clipboardData }) => types[0] && add(clipboardData.files)}></textarea>
    <div class="row controls">
      <label class="button attach">Attach<input type="file" class="unseen" multiple disabled=${!types[0]} accept=${types.join()}
        onChange=${({ target }) => { add(target.files); target.value = ""; }} /></label>
      ${children}
      <button class="primary">${talk.running ? "Stop" : "Send"}</button>
    </div>
    <p class="note hint">${limits} <span>Enter sends, Shift+Enter breaks the line, Esc stops.</span></p>
  </form>`;
}
