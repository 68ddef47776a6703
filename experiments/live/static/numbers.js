// How numbers are written: the only place. The terminal's words are the same (frame.told).

export const NOTHING = "–";

export function reading({ ms, censored }) {
  if (ms === null) return NOTHING;
  if (censored) return `≥ ${ms.toFixed(0)} ms`;
  return `${ms.toFixed(ms < 1000 ? 1 : 0)} ms`;
}

export const fixed = (value, digits) => (value === null ? NOTHING : value.toFixed(digits));
export const percent = (value) => (value === null ? NOTHING : `${(100 * value).toFixed(1)} %`);
export const whole = (value) => (value === null ? NOTHING : String(value));
export const seconds = (value) => `${value.toFixed(1)} s`;

export function clock(t_s) {
  const tenths = Math.floor(t_s * 10 + 1e-6);
  const minutes = String(Math.floor(tenths / 600)).padStart(2, "0");
  return `${minutes}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}
