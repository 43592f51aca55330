// Numbers with units.

const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"], [1e-12, "p"]];

/** Three digits that count. */
function digits(value) {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : 2);
}

/** 3,480,000 as "3.48 M". */
function scaled(value, unit) {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return `0 ${unit}`.trim();
  const size = Math.abs(value);
  // What rounds up to 1000 of a unit is 1 of the next.
  const [scale, prefix] = PREFIXES.find(([scale]) => size >= scale * 0.9995) ?? PREFIXES.at(-1);
  return `${digits(value / scale)} ${prefix}${unit}`.trim();
}

export const bytes = (value) => (value < 1000 ? `${value} B` : scaled(value, "B"));
export const parameters = (value) => scaled(value, "").replace(" ", "").replace("G", " B").replace("M", " M");
export const joules = (picojoules) => scaled(picojoules * 1e-12, "J");
export const rate = (perSecond) => `${perSecond < 1000 ? digits(perSecond) : scaled(perSecond, "").replace(" ", "")} tokens/s`;
export const count = (value) => value.toLocaleString("en");

export function seconds(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return milliseconds < 100_000 ? `${digits(milliseconds / 1000)} s` : `${Math.round(milliseconds / 1000)} s`;
}

export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

/** A probability from its natural logarithm. */
export function probability(logprob) {
  const percent = 100 * Math.exp(logprob);
  if (percent >= 99.95 && percent < 100) return "99.9 %";
  return percent >= 0.1 ? `${percent.toFixed(1)} %` : `${percent.toExponential(0)} %`.replace("e-", "e−");
}
