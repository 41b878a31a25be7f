// What can be asked, and where: models, devices and strategies to choose from, and what files may come along.
import { get } from "./api.js";
import { html } from "./html.js";
import { useLive } from "./live.js";
import { useRead } from "./parts.js";

/** A model that only embeds can't chat; one that says nothing of itself may. */
const chats = ({ capabilities: can = [] }) => can.length === 0 || can.includes("completion");

let kept = {};

/** The virtual names, the models that can chat (each with its `devices`), their devices with their states, strategies, and limits. */
export function useModels() {
  const live = useLive("devices");
  // Anew when there are others: of one that is gone nothing is told, though it is known.
  const { value, error, again } = useRead(readAll, [live?.map(({ name, state, models }) => [name, /dead|stop/.test(state), models?.map((one) => one.name)]).join()]);
  const { models = [], limits = {} } = value ?? kept;
  const real = models.filter((one) => !one.virtual && chats(one));
  const states = new Map((live ?? []).map((one) => [one.name, one.state]));
  const devices = [...new Set(real.flatMap((one) => one.devices ?? []))].sort().map((name) => ({ name, state: states.get(name) }));
  return { virtual: models.filter((one) => one.virtual), models: real, devices, strategies: limits.strategies ?? [], limits, error: error ?? limits.error, again };
}

async function readAll(signal) {
  const [{ models }, limits] = await Promise.all([
    get("/api/v1/models", { signal }),
    // A chat without files is one, too.
    get("/api/v1/limits", { signal }).catch((error) => {
      signal.throwIfAborted();
      return { ...kept.limits, error };
    }),
  ]);
  kept = { models, limits };
  return kept;
}

/** A picker of a model, or a device; its values are what `model` of a request takes. */
export function ModelPicker({ known, value, choose, label = "Model" }) {
  const { virtual, models, devices } = known;
  const where = (names = []) => (names.length > 3 ? `${names.length} devices` : names.join(", "));
  const gone = value !== "auto" && ![...virtual, ...models].some(({ name }) => name === value) && !devices.some(({ name }) => `auto@${name}` === value);
  return html`<select aria-label=${label} value=${value} onChange=${({ target }) => choose(target.value)}>
    ${(virtual.length ? virtual : [{ name: "auto" }]).map(({ name }) => html`<option key=${name} value=${name}>${name === "auto" ? "Auto: the fleet chooses" : name}</option>`)}
    ${gone && html`<option key=${value} value=${value}>${value} (not there now)</option>`}
    ${models.length > 0 && html`<optgroup label="Model">
      ${models.map(({ name, devices: on }) => html`<option key=${name} value=${name}>${where(on) ? `${name} (${where(on)})` : name}</option>`)}
    </optgroup>`}
    ${devices.length > 0 && html`<optgroup label="Device">
      ${devices.map(({ name, state }) => html`<option key=${name} value=${`auto@${name}`}>Auto on ${name}${state && state !== "ready" ? ` (${state})` : ""}</option>`)}
    </optgroup>`}
  </select>`;
}

/** A picker of how the device is chosen; nothing where nobody says what there is. */
export const StrategyPicker = ({ known: { strategies }, value, choose, label = "Strategy" }) =>
  strategies.length > 0 && html`<select aria-label=${label} value=${value} onChange=${({ target }) => choose(target.value)}>
    <option value="">The fleet's strategy</option>
    ${strategies.map(({ name, description }) => html`<option key=${name} value=${name} title=${description}>${name}</option>`)}
  </select>`;
