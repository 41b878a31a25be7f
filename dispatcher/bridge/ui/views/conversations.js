// What was said, and is kept: found again, renamed, taken away, and forgotten.
import { del, may, patch, query } from "../core/api.js";
import { moment } from "../core/format.js";
import { html, useLayoutEffect, useRef, useState } from "../core/html.js";
import { announce, Confirm, Empty, Page, Read, Refusal, Sheet, useAct, useGet, useQuery } from "../core/parts.js";

const ALL = "/api/v1/conversations";
const PAUSE_MS = 250;

export default function Conversations() {
  const [{ q, pages = 1 }, set] = useQuery();
  const [text, type] = useState(q);
  const field = useRef();
  // At once, so that neither the timer nor an older search takes away what was typed since.
  useLayoutEffect(() => type(q), [q]);
  useLayoutEffect(() => {
    const timer = setTimeout(() => text !== q && set({ q: text, pages: "" }), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return html`<${Page} title="Conversations">
    <label class="field sought">Search<input type="search" aria-keyshortcuts="/" ref=${field} value=${text} maxlength="200" placeholder="Words that all have to be in it" onInput=${({ target }) => type(target.value)} /></label>
    <${Talks} key=${q} q=${q} field=${field} pages=${pages} set=${set} />
  <//>`;
}

/** A page of the list; what is earlier comes below it, on demand: whoever comes back finds as many `pages`. */
function Talks({ asked, before, nth = 1, ...all }) {
  const { q, field, pages, set } = all;
  const read = useGet(query(ALL, { q, before }));
  const [more, go] = useState();
  const unfold = () => {
    go(true);
    set({ pages: nth + 1 });
  };
  const [{ Shown, ...shown }, open] = useState({});
  const list = useRef();
  useLayoutEffect(() => {
    if (!read.value) return;
    const { conversations, next } = read.value;
    if (asked) (list.current.querySelector("a") ?? field.current).focus();
    else if (q && !before) announce(conversations[0] ? `Found: ${conversations.length}${next ? " and more" : ""}` : "Nothing found");
  }, [!read.value]);

  const done = (says) => {
    announce(says);
    read.again();
  };
  const rename = (one) => open({ Shown: Rename, one, done });
  const forget = (yes, says, path, button) => open({ Shown: Confirm, title: `${yes}?`, says, yes, act: async () => {
    const told = await del(ALL + path);
    // A dialog gives the focus back when it is gone, which is later.
    const next = button.closest("li")?.nextElementSibling?.querySelector("a") ?? field.current;
    setTimeout(() => next.focus());
    done(`${told?.conversations ?? "It is"} forgotten`);
  } });
  return html`<${Read} read=${read}>${({ conversations, next, kept_days: days }) => html`
    ${!conversations[0] && html`<${Empty}>${next ? "Not among the newest: look further." : before ? "There are no more." : q ? "No conversation has all of these words." : `Nothing is kept yet: ask something in the chat.${may("leave") ? " What was said before there were keys comes back by drover keys adopt NAME." : ""}`}<//>`}
    <ul class="talks" ref=${list}>${conversations.map((one) => html`<${Talk} key=${one.conversation.id + one.turn} ...${one} rename=${rename} forget=${forget} />`)}</ul>
    ${next && (nth < pages ? html`<${Talks} ...${all} asked=${more} before=${next} nth=${nth + 1} />` : html`<p class="row"><button onClick=${unfold}>Earlier ones</button></p>`)}
    ${!before && html`<p class="note">They are yours alone. ${days ? `What nobody goes on with for ${days} days is forgotten.` : "They are kept until you forget them."}</p>`}
    ${!before && !q && conversations[0] && html`<button class="danger" onClick=${({ target }) => forget("Forget all", "All of yours are gone for good, listed here or not.", "?confirm=all", target)}>Forget all</button>`}
    ${Shown && html`<${Shown} ...${shown} close=${() => open({})} />`}`}<//>`;
}

function Talk({ conversation, snippet, turn, rename, forget }) {
  const { id, title, updated_unix_s: updated, turns } = conversation;
  const named = title || "Without a title";
  return html`<li class="card">
    <a class="title" href=${query("/", { c: id, turn })}>${named}</a>
    ${snippet && html`<p class="snippet">${snippet}</p>`}
    <p class="note">${moment(updated)} · ${turns} turns</p>
    <div class="row">
      <button class="quiet" onClick=${() => rename(conversation)}>Rename<span class="unseen"> ${named}</span></button>
      ${["Markdown", "JSON"].map((form) => html`<a class="quiet" download href=${`${ALL}/${id}/export?format=${form.toLowerCase()}`}>${form}<span class="unseen"> of ${named}</span></a>`)}
      <button class="quiet bad" onClick=${({ target }) => forget("Forget it", `“${named}” is gone for good.`, `/${id}`, target)}>Forget<span class="unseen"> ${named}</span></button>
    </div>
  </li>`;
}

function Rename({ one, done, close }) {
  const { act, error } = useAct();
  const keep = (event) => {
    event.preventDefault();
    act(async () => {
      await patch(`${ALL}/${one.id}`, { title: event.target.elements.title.value.trim() });
      close();
      done("Renamed");
    });
  };
  return html`<${Sheet} title="Rename" close=${close}>
    <form onSubmit=${keep}>
      <label class="field">Title<input name="title" type="text" autofocus defaultValue=${one.title} maxlength="200" /></label>
      <${Refusal} error=${error} />
      <div class="row"><button class="primary">Keep</button></div>
    </form>
  <//>`;
}
