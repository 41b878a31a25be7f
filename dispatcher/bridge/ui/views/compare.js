// One question to several at once: their answers side by side, what they differ in, and which is the better one.
import { post } from "../core/api.js";
import { cost, drawn } from "../core/badge.js";
import { known, rate, seconds } from "../core/format.js";
import { html, useEffect, useState } from "../core/html.js";
import { ModelPicker, StrategyPicker, useModels } from "../core/models.js";
import { announce, Page, Refusal, Table, useAct, useQuery } from "../core/parts.js";
import { Answer, Reply } from "../core/reply.js";

// Each holds a connection, and by HTTP/1.1 a browser has six: the live stream and a chat take two, and to cancel takes one.
const LETTERS = "ABC";
const KEEP = "drover-compare";

// It stays while another view is open, and the answers that are on their way go on. A reload breaks these off, and leaves what they said.
const kept = { prompt: "", replies: [], ...JSON.parse(sessionStorage.getItem(KEEP)) };
kept.replies = kept.replies.map((one) => Object.assign(new Reply(), one));
kept.replies.forEach((one) => one.stop());
addEventListener("pagehide", () => sessionStorage.setItem(KEEP, JSON.stringify(kept)));

export default function Compare() {
  const there = useModels();
  const [, turn] = useState();
  const set = (changed) => {
    Object.assign(kept, changed);
    turn({});
  };
  const { prompt, replies, vote } = kept;
  const [{ sides: given = kept.sides }, change] = useQuery();
  // Two that differ are what one comes for.
  const places = [...there.devices.map(({ name }) => `auto@${name}`), ...there.models.map(({ name }) => name), "auto"].slice(0, 2);
  const chosen = given || (there.models[0] && places.join());
  // In the address as `model,model strategy`.
  const sides = chosen?.split(",", LETTERS.length).map((side) => side.split(" ")) ?? [];
  const put = (at, ...side) => change({ sides: sides.toSpliced(at, 1, ...side).map((one) => one.join(" ").trim()) });
  const running = replies.some(({ over }) => !over);
  const ready = !running && sides[0] && prompt.trim();
  const done = replies.filter(({ phase }) => phase === "done");
  useEffect(() => {
    kept.sides = given;
    change({ sides: given });
  }, [given]);
  useEffect(() => {
    const left = replies.map((one) => one.hear(() => one.over && set()));
    return () => left.forEach((leave) => leave());
  }, [replies]);

  const ask = async (event) => {
    event.preventDefault();
    if (!ready) return;
    const replies = sides.map(([model, strategy], at) => Object.assign(new Reply({ model, strategy, prompt, cache: "off", anew: true }), { letter: LETTERS[at] }));
    set({ replies, vote: null });
    await Promise.all(replies.map((one) => one.run()));
    const came = replies.filter(({ phase }) => phase === "done").length;
    announce(`${came < replies.length ? `${came} of ${replies.length}` : "All"} answers are here`);
  };
  return html`<${Page} title="Compare" wide>
    <form class="asking" onSubmit=${ask}>
      <label class="field">One question to all of them
        <textarea rows="3" value=${prompt} onInput=${({ target }) => set({ prompt: target.value })} onKeyDown=${(event) => event.key === "Enter" && !event.shiftKey && !event.isComposing && ask(event)} maxlength="100000"></textarea>
      </label>
      <div class="sides">
        ${sides.map(([model, strategy], at) => html`<fieldset class="row side">
          <legend>${LETTERS[at]}</legend>
          <${ModelPicker} known=${there} value=${model} label=${`Model of ${LETTERS[at]}`} choose=${(model) => put(at, [model, strategy])} />
          <${StrategyPicker} known=${there} value=${strategy} label=${`Strategy of ${LETTERS[at]}`} choose=${(strategy) => put(at, [model, strategy])} />
          ${sides[2] && html`<button type="button" class="quiet" onClick=${() => put(at)}>Leave out ${LETTERS[at]}</button>`}
        </fieldset>`)}
      </div>
      <div class="row">
        <button class="primary" disabled=${!ready}>Ask all</button>
        ${running && html`<button type="button" onClick=${() => replies.forEach((one) => one.stop())}>Stop all</button>`}
        ${!sides[2] && html`<button type="button" onClick=${() => put(sides.length, ["auto"])}>Add one</button>`}
      </div>
    </form>
    <${Refusal} error=${there.error} again=${there.again} />
    ${replies[0] && html`<section class="stack round" key=${replies[0].begunMs}>
      <h2>${replies[0].asked.prompt}</h2>
      <div class="answers" onScrollCapture=${scrollTogether}>
        ${replies.map((reply) => html`<article class="card"><h3>${reply.letter}: ${reply.asked.model} ${reply.asked.strategy}</h3>
          <div class="text" tabindex="0" role="group" aria-label=${`Text of ${reply.letter}`}><${Answer} reply=${reply} /></div></article>`)}
      </div>
      ${done[0] && html`<${Differences} done=${done} />`}
      ${done[1] && !running && html`<${Vote} done=${done} said=${vote} set=${set} />`}
    </section>`}
  <//>`;
}

/** One text scrolls, and the others with it; that they do leads back to nobody: those that end earlier would hold the first. */
function scrollTogether({ target, currentTarget }) {
  if (target.led === target.scrollTop) return;
  for (const other of currentTarget.querySelectorAll(".text")) {
    other.scrollTop = target.scrollTop;
    other.led = other.scrollTop;
  }
}

/** What the answers differ in: the best of each row is marked in words. */
function Differences({ done }) {
  // What it is called, what it is of an answer, and how that is written; and which is the best one.
  const rows = [
    ["Time to first token", "first_token_s", seconds, Math.min],
    ["Time in all", "total_s", seconds, Math.min],
    ["Speed", "decode_tps", rate, Math.max],
    ["Energy", "joules", (value, one) => drawn(one), Math.min],
    ["Cost", "cost_usd", (value, one) => cost(one), Math.min],
  ];
  const all = done.map(({ account, letter }) => ({ letter, ...account, ...account.timings, ...account.energy }));
  const show = (one) => ([, name, write, pick]) => {
    const values = all.map((other) => other[name]).filter(known);
    const [value, best] = [one[name], pick(...values)];
    if (!known(value)) return "not known";
    return html`${write(value, one)} ${value === best && values.some((other) => other !== best) && html`<small class="best">best</small>`}`;
  };
  return html`<${Table} caption="Differences" columns=${[{ name: 0, title: "Figure" }, ...all.map((one) => ({ title: one.letter, number: true, show: show(one) }))]} rows=${rows.filter(([, name]) => all.some((one) => known(one[name])))} />`;
}

/** Which one is better; it is kept with the experiments, and routing learns from it. */
function Vote({ done, said, set }) {
  const { act, error } = useAct();
  const vote = (winner, says) => html`<button aria-pressed=${said === says} onClick=${() => act(async () => {
    await post("/api/v1/votes", { jobs: done.map(({ job }) => job), winner });
    set({ vote: says });
    announce("Your vote is kept");
  })}>${says}</button>`;
  return html`<div class="vote">
    <h3>Which answer is better?</h3>
    <div class="row">${done.map((one) => vote(one.job, `${one.letter} is better`))}${vote(null, "None is better")}</div>
    <${Refusal} error=${error} />
    <p class="note"><a href="/experiments">Experiments</a> and routing learn from it.</p>
  </div>`;
}
