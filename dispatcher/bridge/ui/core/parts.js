// Pieces that several views are made of. They know no view.
import { get, query } from "./api.js";
import { Component, html, useEffect, useLayoutEffect, useRef, useState } from "./html.js";
import { known, sentence } from "./format.js";

/** A view: its title, what stands beside that, and the rest. */
export const Page = ({ title, beside, wide, children }) => html`
  <div class=${`page ${wide ? "wide" : ""}`}>
    <header class="page-head"><h1>${title}</h1>${beside}</header>
    ${children}
  </div>`;

/** Say something to those who hear the page: once, and politely. */
export function announce(text) {
  document.getElementById("announce").textContent = text;
}

/** A refusal, if there is one, in words and with its code; `again` offers another try. */
export const Refusal = ({ error, again, title }) => error && html`
  <div class="refusal" role="alert">
    ${title && html`<strong>${title}</strong>`}
    <p>${error.status === 401 ? "You are logged out. Read the page anew, and come in with a key." : sentence(error.message)}${error.retryAfter ? ` Try again in ${Math.ceil(error.retryAfter)} s.` : ""}</p>
    <div class="row">
      ${again && html`<button type="button" onClick=${again}>Try again</button>`}
      ${error.code && html`<code>${error.code}</code>`}
    </div>
  </div>`;

/** What a view says when it has nothing to show: why, and what would change that. */
export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

/** A fault in a view's own code: the page stays, and says so. */
export class Crash extends Component {
  componentDidCatch(error) {
    console.error(error);
    this.setState({ error });
  }

  render({ children }, { error }) {
    return error ? html`<${Page} title="This view broke"><${Refusal} error=${{ message: `${error.message ?? error}` }} again=${() => location.reload()} /><//>` : children;
  }
}

/**
 * Load something and keep it: `read(signal)` gives it, anew whenever `by` changes, every `everyS` seconds while the page is
 * visible, and when `again` is called. What was read last stays while the next is on its way, and when that fails for the same `by`.
 */
export function useRead(read, by = [], everyS = 0) {
  const [{ value, error, busy }, set] = useState({ value: null, error: null, busy: true });
  const [turn, next] = useState(0);
  const wanted = JSON.stringify(by);
  const again = () => next((old) => old + 1);
  useEffect(() => {
    const abort = new AbortController();
    set((old) => ({ ...old, busy: true }));
    // What nobody waits for any more says nothing, whatever became of it.
    const tell = (told) => abort.signal.aborted || set(told);
    read(abort.signal).then(
      (value) => tell({ value, of: wanted, error: null, busy: false }),
      // What was read for another choice is no answer to this one.
      (error) => tell((old) => ({ ...old, value: old.of === wanted ? old.value : null, error, busy: false })),
    );
    return () => abort.abort();
  }, [turn, wanted]);
  useEffect(() => {
    // From when the answer is in: one that takes longer than that would never come.
    const timer = everyS && !busy && setInterval(() => document.hidden || again(), everyS * 1000);
    return () => clearInterval(timer);
  }, [everyS, busy]);
  return { value, error, busy, again };
}

/** Load what the bridge has at a path: see `useRead`. */
export const useGet = (path, everyS) => useRead((signal) => get(path, { signal }), [path], everyS);

/** Something that is done on demand and may be refused: `act(work)` does it, one at a time. */
export function useAct() {
  const [{ busy, error }, set] = useState({});
  const act = async (work) => {
    if (busy) return;
    set({ busy: true });
    set({ error: await work().then(() => null, (refused) => refused) });
  };
  return { act, busy, error };
}

/** What was read, its refusal, or that it is on its way; after a moment also what is waited for: a ledger that hangs takes seconds. */
export const Read = ({ read: { value, error, again }, children }) => html`
  <${Refusal} error=${error} again=${again} />
  ${value ? children(value) : !error && html`<p class="loading">Reading<span class="late">The ledger or a dispatcher takes long.</span></p>`}`;

/**
 * A dialog over the page; Escape and its button close it, and the focus goes back to where it was. With `leave`, its button's own
 * words, that alone closes it: what it shows is lost with it. Not every browser knows `closedby`, nor keeps to `cancel` each time.
 */
export function Sheet({ title, close, leave, children }) {
  const dialog = useRef();
  // At once: where one follows another, the door waits for both.
  useLayoutEffect(() => {
    const [before, shown] = [document.activeElement, dialog.current];
    shown.showModal();
    return () => {
      // As long as it is there nothing else takes the focus.
      shown.remove();
      before?.focus?.();
    };
  }, []);
  return html`<dialog class="sheet" ref=${dialog} aria-labelledby="sheet-title" closedby=${leave && "none"} onCancel=${(event) => leave && event.preventDefault()} onClose=${close}>
    <header class="page-head"><h2 id="sheet-title">${title}</h2><button type="button" class="quiet" onClick=${close}>${leave ?? "Close"}</button></header>
    ${children}
  </dialog>`;
}

/** A question before something that can't be undone; `act` may be refused, and is waited for. */
export function Confirm({ title, says, yes, act, close }) {
  const doing = useAct();
  const go = () => doing.act(async () => {
    await act();
    close();
  });
  return html`<${Sheet} title=${title} close=${close}>
    <p>${says}</p>
    <${Refusal} error=${doing.error} />
    <div class="row"><button type="button" class="danger" aria-busy=${doing.busy} onClick=${go}>${yes}</button></div>
  <//>`;
}

/** One of several: a row of radio buttons that looks like a switch. `options` are values and their words. */
export const Choice = ({ label, name, options, value, choose }) => html`
  <fieldset class="choice"><legend>${label}</legend>
    ${Object.entries(options).map(([one, says]) => html`<label><input type="radio" name=${name} value=${one} checked=${one === value} onChange=${() => choose(one)} /><span>${says}</span></label>`)}
  </fieldset>`;

/** Named facts in a row; those that nobody knows are left out. `facts` are `[label, value, note]`. */
export const Facts = ({ facts }) => html`
  <dl class="facts">
    ${facts.filter((one) => one && (one[1] || one[1] === 0)).map(([label, value, note]) => html`<div><dt>${label}</dt><dd>${value}${note && html` <small>${note}</small>`}</dd></div>`)}
  </dl>`;

/** A share of something as a bar, with its words: the bar alone would say it to those who see it. */
export const Meter = ({ label, value, most, says }) => html`
  <div class="meter">
    <span>${label}</span><span>${says}</span>
    <meter min="0" max=${most} value=${Math.min(value, most)} aria-label=${`${label}: ${says}`}></meter>
  </div>`;

/** A mark for where a figure comes from. */
export const Origin = ({ measured }) =>
  known(measured) && html`<small class=${`mark ${measured ? "measured" : "estimated"}`}>${measured ? "measured" : "estimated"}</small>`;

/**
 * A table that scrolls in its own frame. `columns` are `{ name, title, number, show(row) }`; `sort` names the column that it is
 * sorted by, with `-` in front for downwards, and `resort` is called with another.
 */
export const Table = ({ caption, columns, rows, id = (row, at) => at, sort = "", resort }) => html`
  <div class="table" tabindex="0" role="region" aria-label=${caption}>
    <table>
      <caption class="unseen">${caption}</caption>
      <thead><tr>${columns.map(({ name, title, number }) => html`
        <th scope="col" class=${number && "number"} aria-sort=${{ [name]: "ascending", [`-${name}`]: "descending" }[sort]}>
          ${resort ? html`<button type="button" class="sort" onClick=${() => resort(sort === `-${name}` ? name : `-${name}`)}>${title}</button>` : title}</th>`)}</tr></thead>
      <tbody>${rows.map((row, at) => html`
        <tr key=${id(row, at)}>${columns.map(({ name, number, show }) => html`<td class=${number && "number"}>${show ? show(row) : row[name]}</td>`)}</tr>`)}
      </tbody>
    </table>
  </div>`;

/** The address's query as state: what a view is filtered by can be sent to somebody else. `leave` undoes a link to `?…`. */
export function useQuery() {
  const now = () => Object.fromEntries(new URLSearchParams(location.search));
  const [values, set] = useState(now);
  const change = (changed) => {
    history.replaceState(history.state, "", query(location.pathname, { ...now(), ...changed }));
    set(now);
  };
  const leave = (gone) => (history.state ? history.back() : change(gone));
  useEffect(() => {
    const hear = () => set(now);
    addEventListener("popstate", hear);
    return () => removeEventListener("popstate", hear);
  }, []);
  return [values, change, leave];
}
