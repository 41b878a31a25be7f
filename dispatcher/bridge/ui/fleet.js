// The fleet's state in the page's head, and the models to choose from. It knows nothing of the conversation.
import { element } from "/ui/dom.js";

const EVERY_MS = 5000;

/** Keep the head line and the list of devices true while the page is visible. */
export function watchFleet(line, text, herd) {
  const look = async () => {
    if (document.hidden) return;
    const { state, says, devices } = await health();
    line.dataset.state = state;
    if (text.textContent !== says) text.textContent = says;
    line.title = says;
    showHerd(herd, devices);
  };
  look();
  setInterval(look, EVERY_MS);
  document.addEventListener("visibilitychange", look);
}

async function health() {
  try {
    const body = await (await fetch("/health", { cache: "no-store" })).json();
    const devices = body.devices ?? {};
    if (body.status !== "ok") return { state: "down", says: sentence(body.reason ?? "the fleet is not available"), devices };
    if (!body.devices) return { state: "up", says: "The fleet is up", devices }; // strangers are told no names
    const ready = Object.values(devices).filter((state) => state === "ready").length;
    return { state: "up", says: ready === 1 ? "1 device ready" : `${ready} devices ready`, devices };
  } catch {
    return { state: "down", says: "The bridge can't be reached", devices: {} };
  }
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** At most a dozen names: a fleet of hundreds belongs on a page of its own. */
function showHerd(herd, devices) {
  const names = Object.keys(devices);
  const shown = names.slice(0, 12).map((name) => {
    const state = devices[name];
    const word = state !== "ready" && element("small", {}, state);
    return element("li", { "data-state": state }, element("span", { class: "dot", "aria-hidden": "true" }), name, word);
  });
  if (names.length > 12) shown.push(element("li", {}, `and ${names.length - 12} more`));
  herd.replaceChildren(...shown);
}

/** Fill the picker from /v1/models, and keep what was chosen. */
export async function fillModels(picker) {
  let cards;
  try {
    const answer = await fetch("/v1/models", { cache: "no-store" });
    if (!answer.ok) return;
    cards = (await answer.json()).data;
  } catch {
    return; // the head line says that the bridge is away; the old list is still the best there is
  }
  const real = cards.filter((card) => card.id !== "auto" && chats(card));
  const devices = [...new Set(real.flatMap((card) => card.x_drover?.devices ?? []))].sort();
  const chosen = picker.value;
  picker.replaceChildren(
    option("auto", "Auto: the fleet chooses"),
    group("Model", real.map((card) => option(card.id, modelText(card)))),
    group("Device", devices.map((device) => option(`auto@${device}`, `Auto on ${device}`))),
  );
  picker.value = chosen;
  if (picker.selectedIndex < 0) picker.value = "auto";
}

/** A model that only embeds can't chat; one that says nothing of itself may. */
function chats(card) {
  const can = card.x_drover?.capabilities ?? [];
  return can.length === 0 || can.includes("completion");
}

function modelText(card) {
  const { devices = [] } = card.x_drover ?? {};
  const where = devices.length > 3 ? `${devices.length} devices` : devices.join(", ");
  return where ? `${card.id} (${where})` : card.id;
}

const option = (value, text) => element("option", { value }, text);
const group = (label, options) => element("optgroup", { label }, ...options);
