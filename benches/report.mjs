// The results as rows, and the rows as a table.
import os from 'node:os';
import { OURS, targets } from './peers.mjs';

/** What the figures depend on. */
export function machine() {
  const { model } = os.cpus()[0];
  return { cpu: model, cores: os.cpus().length, kernel: os.release(), load_before: os.loadavg() };
}

const SIZES = { 16: /-16$/, 1024: /-1k$/, 4096: /-4k$/ };

function sizeOf(step) {
  const found = Object.entries(SIZES).find(([, pattern]) => pattern.test(step));
  return found ? Number(found[0]) : null;
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

/** One row for each case: the best round of each, and what our target says to that. */
export function rowsOf(engine, results) {
  return results.map(({ case: step, threads, rounds }) => {
    const best = Object.fromEntries(Object.entries(rounds).map(([name, ns]) => [name, Math.min(...ns)]));
    const { [OURS]: ours_ns = null, ...peers } = best;
    const ratio = {};
    if (ours_ns !== null) for (const [name, ns] of Object.entries(peers)) ratio[name] = ours_ns / ns;
    const wanted = Object.entries(targets(step)).filter(([name, limit]) => limit !== null && name in peers);
    const target = wanted.length ? Object.fromEntries(wanted) : null;
    const met = ours_ns !== null && wanted.every(([name, limit]) => ratio[name] <= limit);
    const median_ns = Object.fromEntries(Object.entries(rounds).map(([name, ns]) => [name, median(ns)]));
    return { engine, case: step, size: sizeOf(step), threads, ours_ns, peers, ratio, target, met, median_ns };
  });
}

/** Three digits are all that these measurements are good for. */
export function time(ns) {
  if (ns === null || ns === undefined) return '-';
  const [value, unit] = ns < 1e3 ? [ns, 'ns'] : ns < 1e6 ? [ns / 1e3, 'us'] : [ns / 1e6, 'ms'];
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}

function ratio(value) {
  if (value === undefined) return '-';
  return value >= 0.1 ? value.toFixed(2) : value.toPrecision(2);
}

/** Prints the rows of one engine as a Markdown table. */
export function printTable(title, rows, names) {
  const peers = names.filter((name) => name !== OURS);
  const compared = ['wasmfs-memory', 'wasmfs-opfs'].filter((name) => peers.includes(name));
  const head = ['case', 'threads', OURS, ...peers, ...compared.map((name) => `/ ${name}`), 'met'];
  const body = rows.map((row) => [
    row.case,
    String(row.threads),
    time(row.ours_ns),
    ...peers.map((name) => time(row.peers[name])),
    ...compared.map((name) => ratio(row.ratio[name])),
    row.ours_ns === null ? '-' : row.met ? 'yes' : 'no',
  ]);
  const widths = head.map((_, column) => Math.max(...[head, ...body].map((line) => line[column].length)));
  const print = (line) => console.log(`| ${line.map((cell, i) => cell.padEnd(widths[i])).join(' | ')} |`);
  console.log(`\n${title}\n`);
  print(head);
  console.log(`|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`);
  body.forEach(print);
}
