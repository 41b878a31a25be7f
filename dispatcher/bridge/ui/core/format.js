// Figures as people read them. Nothing known gives an empty text, never a zero.

export const known = (value) => value !== undefined && value !== null && value !== "" && !Number.isNaN(value);

const said = (write) => (value) => (known(value) ? write(Number(value)) : "");
const few = (value, digits = 3) => Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 6 });

/** `40 ms`, `1.25 s`, `3.4 min`. */
export const seconds = said((s) =>
  s < 0.0995 ? `${Math.round(s * 1000)} ms` : s < 9.95 ? `${s.toFixed(2)} s` : s < 120 ? `${s.toFixed(1)} s` : duration(s),
);

/** `45 s`, `12 min`, `3 h`, `5 days`: for ages and waits. */
export const duration = said((s) =>
  s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} days`,
);

export const number = said((value) => value.toLocaleString("en"));
export const figure = said((value) => few(value));
export const share = said((value) => `${(value * 100).toFixed(value > 0.0995 || value === 0 ? 0 : 1)} %`);
export const rate = said((value) => `${value.toFixed(1)} tok/s`);
export const watts = said((w) => `${few(w)} W`);
export const degrees = said((c) => `${Math.round(c)} °C`);

const scaled = (units, step) => said((value) => {
  let scale = 0;
  while (Math.abs(value) >= step && scale < units.length - 1) {
    value /= step;
    scale += 1;
  }
  return `${few(value)} ${units[scale]}`;
});

export const bytes = scaled(["B", "KiB", "MiB", "GiB", "TiB"], 1024);
export const joules = scaled(["J", "kJ", "MJ", "GJ"], 1000);
const milliwattHours = scaled(["mWh", "Wh", "kWh", "MWh"], 1000);
export const wattHours = said((wh) => milliwattHours(wh * 1000));
export const grams = scaled(["g", "kg", "t"], 1000);

/** `$0.0004`, `€1.20`; `currency` as ISO 4217 has it. */
export function money(value, currency = "USD") {
  if (!known(value)) return "";
  const digits = value !== 0 && Math.abs(value) < 0.1 ? { maximumSignificantDigits: 2 } : { maximumFractionDigits: 2 };
  return Number(value).toLocaleString("en", { style: "currency", currency, ...digits });
}

/** `14:03:12` today, else `2026-12-01 14:03:12`, by the reader's own time zone: the same wherever the page was set up. */
export const moment = said((unixS) => new Date(unixS * 1000).toLocaleString("sv").replace(`${new Date().toLocaleDateString("sv")} `, ""));

/** A text as a sentence: a capital, where it begins with a word and not with the name of a file or a field, and a full stop. */
export const sentence = (text) => text.replace(/^[a-z](?=[a-z']*[ ,])/, (letter) => letter.toUpperCase()) + (/[.!?]$/.test(text) ? "" : ".");
