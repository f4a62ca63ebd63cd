// Numbers as they are shown.

/** With four significant digits; very small and very large ones with an exponent. */
export function number(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e6) return value.toExponential(Math.max(0, digits - 2)).replace("e+", "e");
  return String(Number(value.toPrecision(digits)));
}

/** A loss and the like: always four decimals, so that columns align. */
export function fixed(value: number): string {
  return Number.isFinite(value) ? value.toFixed(4) : String(value);
}

/** A learning rate, as logs have it. */
export function rate(value: number): string {
  return value === 0 ? "0" : value.toExponential(2);
}

export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** Parameters as models are named by them: 3.5M, 7.6B. */
export function parameters(value: number): string {
  const [divisor, unit] = value >= 1e9 ? [1e9, "B"] : value >= 1e6 ? [1e6, "M"] : [1e3, "K"];
  return `${Number((value / divisor).toPrecision(3))}${unit}`;
}

export function bytes(value: number): string {
  return value >= 2 ** 30 ? `${(value / 2 ** 30).toFixed(1)} GiB` : `${Math.round(value / 2 ** 20)} MiB`;
}

/** Seconds as h:mm:ss or m:ss. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (part: number) => String(part).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
