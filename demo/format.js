// Sizes and times for people.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

/** `12.3 MiB`: binary units, as a volume is made of blocks of 4 KiB. */
export function size(bytes) {
  let unit = 0;
  while (bytes >= 1024 && unit < UNITS.length - 1) {
    bytes /= 1024;
    unit++;
  }
  const digits = unit === 0 || bytes >= 100 || Number.isInteger(bytes) ? 0 : 1;
  return `${bytes.toFixed(digits)} ${UNITS[unit]}`;
}

export const count = (number) => Number(number).toLocaleString('en-US');

/** How long ago a moment (in ms) was: `now`, `12 s ago`, `3 min ago`, or the day. */
export function age(moment, now = Date.now()) {
  const seconds = Math.round((now - moment) / 1000);
  if (seconds < 2) return 'now';
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(moment).toISOString().slice(0, 10);
}

export function milliseconds(ms) {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** An element with a class and a text or children. */
export function element(tag, className = '', ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}
