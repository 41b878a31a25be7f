// The page around the views: which one is open, who may come in, and what is the same everywhere.
import { del, load, post } from "./api.js";
import { sentence } from "./format.js";
import { html, script, show } from "./html.js";
import { follow, hear } from "./live.js";
import { LEFT } from "./live-source.js";
import { announce, Crash } from "./parts.js";

const KEYS_OFF = "drover-keys-off";
const THEME = "drover-theme";
const USER = "drover-user";
const SESSION = "/api/v1/session";
const boot = JSON.parse(document.body.dataset.boot);
const at = (id) => document.getElementById(id);
const main = at("view");
let leave = () => {};
let turn = 0;
let shown;

// What was typed and not sent is for nobody else; a stranger sees no view, and may be the same again, unless that one has logged out.
const { user } = document.body.dataset;
const last = sessionStorage.getItem(USER);
if (!last || (user && user !== last)) {
  sessionStorage.clear();
  sessionStorage.setItem(USER, user);
}

function put(node) {
  leave();
  main.replaceChildren();
  leave = show(node, main);
}

/** Show the view of an address, without reading the page anew: what another view has begun goes on. */
async function open(view, y = 0, first) {
  const mine = ++turn;
  at("menu").hidePopover();
  shown = view.name;
  const href = new URL(`../views/${shown}.css`, import.meta.url).pathname;
  if (!document.querySelector(`link[href="${href}"]`)) document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
  document.title = `${view.title} · Drover`;
  for (const link of document.querySelectorAll("[data-view]")) link.ariaCurrent = link.dataset.view === shown ? "page" : null;
  // At once: what the view before still writes into the address is not for this one's.
  if (!first) put(html`<p class="loading">${view.title} is being read</p>`);
  const View = await load(`../views/${shown}.js`).then(
    (module) => module.default,
    (error) => {
      if (first) return () => { throw error; };
      // Modules of this edition are gone once the bridge has another: then the page is read anew, as any link would do.
      location.reload();
    },
  );
  if (mine !== turn || !View) return;
  put(html`<${Crash}><${View} /><//>`);
  if (first) return;
  (main.querySelector("[autofocus]") ?? main).focus({ preventScroll: true });
  let here;
  const grown = new ResizeObserver(() => {
    // A list is as long as it was when all of it is read. Whoever scrolls meanwhile stays there.
    if (mine !== turn || (here ?? scrollY) !== scrollY || here > y - 1) return grown.disconnect();
    scrollTo(0, y);
    here = scrollY;
  });
  grown.observe(main);
}

const viewAt = (path) => boot.views.find((view) => view.path === path);

// How far down each address was left, for whoever comes back.
const stood = {};
addEventListener("scroll", () => (stood[location] = scrollY));

addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || link.target || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const url = new URL(link.href);
  const view = url.origin === location.origin && !link.hasAttribute("download") && viewAt(url.pathname);
  if (!view) return;
  event.preventDefault();
  // As the browser does it, a place within the page would be an entry of the history, and be taken for another view.
  if (url.hash && url.pathname === location.pathname) return at(url.hash.slice(1))?.focus();
  // A link to `?…` leaves the view as it is, and that reads the address anew: `useQuery`.
  const within = link.getAttribute("href")[0] === "?";
  history[url.href === location.href ? "replaceState" : "pushState"](within, "", url);
  if (within) dispatchEvent(new Event("popstate"));
  else open(view);
});
// One listener for all that can be copied: it comes and goes. This way to copy is there over plain HTTP as well.
addEventListener("click", ({ target }) => {
  if (!target.matches?.(".copy")) return;
  getSelection().selectAllChildren(target.closest(".pre, .theirs, .raw").querySelector("pre, .words"));
  if (!document.execCommand("copy")) return;
  announce((target.textContent = "Copied"));
  setTimeout(() => (target.textContent = "Copy"), 3000);
});
addEventListener("popstate", (event) => {
  const view = viewAt(location.pathname);
  // The chat alone reads its address but once.
  if (!view || (view.name === shown && shown !== "chat")) return;
  event.stopImmediatePropagation();
  open(view, stood[location]);
});
// It lies over the view.
main.addEventListener("focusin", () => at("menu").hidePopover());

// Keys of the keyboard are named where they lead: `aria-keyshortcuts`.
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const found = document.querySelector(`[aria-keyshortcuts="${CSS.escape(event.key)}"]`);
  if (!found || (event.key !== "?" && localStorage.getItem(KEYS_OFF))) return;
  event.preventDefault();
  if (found.matches("input")) found.focus();
  else found.click();
});
at("list-keys").onclick = () => at("keys").showModal();
at("single-keys").checked = !localStorage.getItem(KEYS_OFF);
at("single-keys").onchange = ({ target }) => localStorage.setItem(KEYS_OFF, target.checked ? "" : "1");

at("theme").value = document.documentElement.dataset.theme;
at("theme").onchange = ({ target: { value } }) => {
  localStorage.setItem(THEME, value);
  document.documentElement.dataset.theme = value;
  dispatchEvent(new Event(THEME));
};

// The door: a key is traded for a session that no script can read, and the page begins anew.
const door = at("door");
let asking, leaving;
// It lies over all other dialogs, but for those that go first: what they show is shown only once. Who logs out forgets before.
function askForKey() {
  clearTimeout(asking);
  if (leaving || document.querySelector("dialog[open] [data-first]")) asking = setTimeout(askForKey, 1000);
  // Nothing of anybody's stands behind it.
  else if (user) location.reload();
  else if (!door.open) door.showModal();
}
// Behind it nothing would work.
door.onclose = askForKey;
door.onsubmit = async (event) => {
  event.preventDefault();
  const field = at("door-key");
  try {
    await post(SESSION, { key: field.value.trim() });
    location.reload();
  } catch (refused) {
    door.querySelector("[role=alert]").textContent = refused.message;
    field.select();
  }
};
// Who logs out by one tab leaves them all, at once.
const tabs = new BroadcastChannel(LEFT);
const forget = () => {
  // Nobody is asked whether to stay.
  onbeforeunload = null;
  sessionStorage.clear();
  if (user) location.reload();
};
tabs.onmessage = forget;
const out = at("leave");
if (out) out.onclick = async () => {
  const kept = { ...localStorage };
  // The stream may end before the answer is here.
  leaving = true;
  try {
    await del(SESSION);
  } catch (refused) {
    leaving = refused.status === 401;
    if (!leaving) return (at("stayed").textContent = sentence(refused.message));
  }
  // The bridge has browsers forget everything, where they know how to: what was typed goes, the colours stay.
  Object.assign(localStorage, kept);
  tabs.postMessage("");
  history.replaceState(null, "", "/");
  forget();
};

/** Keep the line in the head true: whether a chat can be answered, and whether anybody still tells. */
function watchFleet() {
  const text = at("standing-text");
  const line = text.parentElement;
  let lost = false;
  let fleet;
  const tell = () => {
    const says = lost ? "No word from the bridge" : fleet ? fleetText(fleet) : "Looking for the fleet";
    line.dataset.state = lost || fleet?.reason ? "down" : fleet?.counts.ready < fleet?.counts.devices ? "part" : fleet ? "up" : "unknown";
    at("lost").hidden = !lost;
    if (text.textContent !== says) text.textContent = line.title = says;
  };
  hear("why", (why) => (at("why").textContent = sentence(why ?? "Check that Drover runs")));
  hear("link", (now) => {
    const turned = now === "lost" || (lost && now !== "live");
    if (turned !== lost) announce(turned ? "No word from the bridge" : "The bridge is back");
    tell((lost = turned));
  });
  hear("fleet", (now) => tell((fleet = now)));
}

function fleetText({ reason, counts: { ready, devices } }) {
  if (reason) return reason.charAt(0).toUpperCase() + reason.slice(1);
  return `${ready < devices ? `${ready} of ` : ""}${devices} device${devices === 1 ? "" : "s"} ready`;
}

addEventListener("drover-stranger", askForKey);
if (boot.stranger) askForKey();
hear("link", (now) => {
  if (now === "stranger") askForKey();
  // Somebody has come in by another tab.
  if (now === "live" && (door.open || !user)) location.reload();
});
hear("user", (now) => now && now !== user && location.reload());
if (user) watchFleet();
follow();
const first = boot.views.find((view) => view.name === boot.view);
if (first) open(first, 0, true);
// There is none over plain HTTP from another machine.
navigator.serviceWorker?.register(script(`/sw.js?edition=${boot.edition}`)).catch(() => {});
