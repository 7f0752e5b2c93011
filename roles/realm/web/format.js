// Sizes, times, and rates in words. Pure; the language is the browser's.

const formatters = new Map();

/** A formatter of the browser: one is slow to make, and good for ever. */
function formatter(Kind, language, options) {
  const key = `${Kind.name} ${language} ${JSON.stringify(options)}`;
  if (!formatters.has(key)) formatters.set(key, new Kind(language, options));
  return formatters.get(key);
}

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Bytes, for people: `1.2 MB`. */
export function bytes(count, language) {
  let value = Number(count) || 0;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  const digits = unit === 0 || value >= 99.5 ? 0 : 1;
  return `${formatter(Intl.NumberFormat, language, { maximumFractionDigits: digits }).format(value)}\u00a0${UNITS[unit]}`;
}

/** Bytes in one second. */
export function rate(perSecond, language) {
  return `${bytes(perSecond, language)}/s`;
}

/** A number with the separators of the language. */
export function number(value, language) {
  return formatter(Intl.NumberFormat, language, {}).format(value);
}

/** The time of a day: `14:05`. */
export function clock(at, language, zone) {
  return formatter(Intl.DateTimeFormat, language, { hour: "2-digit", minute: "2-digit", timeZone: zone }).format(at);
}

/** Day and time, whole. */
export function moment(at, language, zone) {
  return formatter(Intl.DateTimeFormat, language, { dateStyle: "medium", timeStyle: "short", timeZone: zone }).format(at);
}

/** The calendar day as a number, so that days can be compared. */
export function dayOf(at, zone) {
  if (zone === undefined) {
    const local = new Date(at);
    return Date.UTC(local.getFullYear(), local.getMonth(), local.getDate()) / 86_400_000;
  }
  const parts = formatter(Intl.DateTimeFormat, "en-CA", { year: "numeric", month: "2-digit", day: "2-digit", timeZone: zone });
  return Date.parse(`${parts.format(at)}T00:00:00Z`) / 86_400_000;
}

/** A day between messages: `Today`, `Yesterday`, `Tuesday`, `3 March 2026`. */
export function day(at, now, language, zone) {
  const ago = dayOf(now, zone) - dayOf(at, zone);
  if (ago === 0) return "Today";
  if (ago === 1) return "Yesterday";
  const near = ago > 1 && ago < 7;
  return formatter(Intl.DateTimeFormat, language, near ? { weekday: "long", timeZone: zone } : { dateStyle: "long", timeZone: zone }).format(at);
}

/** A time in a list: the clock today, else the day. */
export function short(at, now, language, zone) {
  const ago = dayOf(now, zone) - dayOf(at, zone);
  if (ago === 0) return clock(at, language, zone);
  if (ago === 1) return "Yesterday";
  return formatter(Intl.DateTimeFormat, language, { dateStyle: "short", timeZone: zone }).format(at);
}

/** Milliseconds as `3 s`, `2 min`, `1 h 5 min`, `4 d`. */
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

/** `1 file`, `2 files`. */
export function count(n, one, many = `${one}s`) {
  return `${number(n)} ${n === 1 ? one : many}`;
}
