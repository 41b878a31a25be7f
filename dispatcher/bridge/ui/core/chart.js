// Lines over time, drawn by uPlot in the page's colours, told in words, and as a table for who can't see or point.
import { load } from "./api.js";
import { figure, moment } from "./format.js";
import { html, useEffect, useRef, useState } from "./html.js";
import { Refusal, Table } from "./parts.js";

const DASHES = [["solid"], ["dashed", 9, 4], ["dotted", 2, 3]];
const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

/** A time at an axis: hours and minutes, or the day where steps are that long. */
export const clock = (unixS, stepS) => new Date(unixS * 1000).toLocaleString("sv").slice(...(stepS >= 86400 ? [5, 10] : [11, 16]));

/** What a drawing goes by: its element, that element's width, and what is another when the colours change. */
function useCanvas() {
  const box = useRef();
  const [width, resize] = useState(0);
  const [theme, turn] = useState();
  useEffect(() => {
    const abort = new AbortController();
    const { signal } = abort;
    const watch = new ResizeObserver(([{ contentRect }]) => contentRect.width && resize(contentRect.width | 0));
    watch.observe(box.current);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", turn, { signal });
    addEventListener("drover-theme", turn, { signal });
    return () => {
      watch.disconnect();
      abort.abort();
    };
  }, []);
  return [box, width, theme];
}

/** The frame of a drawing: its title, its words, and a switch between it and a table; `table` gives the props of that. */
export function Figure({ title, summary, table, children }) {
  const [on, set] = useState(false);
  return html`<figure class="figure">
    <figcaption><h2>${title}</h2><button type="button" class="quiet" aria-pressed=${on} aria-label=${`Table of ${title}`} onClick=${() => set(!on)}>Table</button></figcaption>
    <p class="note">${summary}</p>
    <div hidden=${on}>${children}</div>
    ${on && html`<${Table} ...${table()} caption=${title} />`}
  </figure>`;
}

/** The table of series over time, the newest first. */
export const byTime = (times, series, format) => ({
  rows: [...times.keys()].reverse(),
  columns: [{ title: "Time", show: (at) => moment(times[at]) }, ...series.map(({ name, values }) => ({ title: name, number: true, show: (at) => format(values[at]) || "–" }))],
});

/** A chart of up to three `series`, each `{ name, values }` with a value or null for each of `times` (Unix, s); `format` writes values. */
export function Chart({ title, summary, series, times, height = 220, format = figure }) {
  const [box, width, theme] = useCanvas();
  const [error, fail] = useState();
  const { current: cursor } = useRef({ y: false, drag: { x: false } });
  useEffect(() => {
    let plot;
    let gone = !width;
    load("../vendor/uplot-1.6.32.mjs").then(({ default: Plot }) => {
      if (gone) return;
      const axis = { stroke: token("--ink-soft"), font: `12px ${token("--sans")}`, grid: { stroke: token("--line"), width: 1 }, ticks: { show: false } };
      const lines = series.map(({ name }, nth) => ({ label: name, value: (_, one) => format(one), stroke: token(`--series-${nth + 1}`), width: 2, dash: DASHES[nth].slice(1), points: { show: true, size: 4 } }));
      plot = new Plot({
        width,
        height,
        cursor,
        padding: [8, 20, 0, 0], // half of a time fits beside the last
        legend: { markers: { dash: (_, nth) => DASHES[nth - 1][0] } },
        scales: { y: { range: (_, __, most) => [0, (most || 1) * 1.08] } },
        axes: [{ ...axis, size: 28, values: (_, splits, __, ___, step) => splits.map((one) => clock(one, step)) }, { ...axis, size: 72, values: (_, splits) => splits.map(format) }],
        series: [{ label: "Time", value: (_, at) => moment(at) }, ...lines],
      }, [times, ...series.map(({ values }) => values.map((one) => one ?? null))], box.current);
    }).catch(fail);
    return () => {
      gone = true;
      if (plot) Object.assign(cursor, { left: plot.cursor.left, top: plot.cursor.top });
      plot?.destroy();
    };
  }, [width, theme, JSON.stringify([times, series])]);
  return html`<${Figure} title=${title} summary=${summary} table=${() => byTime(times, series, format)}><${Refusal} error=${error} again=${() => location.reload()} /><div class="plot" role="img" aria-label=${summary} ref=${box} style=${{ minHeight: height }}></div><//>`;
}
