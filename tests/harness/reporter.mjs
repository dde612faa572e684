// A reporter for `node --test`: a line per test as it ends, what failed in full, and for scripts/test a file
// (SABFS_REPORT) with one line per case: pass, fail or skip, a tab, and the name. With SABFS_BRIEF only the outermost
// tests that passed have a line in the output, where there are thousands within.
import fs from 'node:fs';
import path from 'node:path';
import { inspect } from 'node:util';

export default async function* reporter(events) {
  const report = process.env.SABFS_REPORT;
  if (report) fs.writeFileSync(report, '');
  for await (const { type, data } of events) {
    if (type === 'test:stdout' || type === 'test:stderr') {
      yield data.message;
      continue;
    }
    if (type === 'test:diagnostic' && data.nesting > 0) yield `${indent(data)}# ${data.message}\n`;
    if (type !== 'test:complete') continue;
    const outcome = judge(data);
    if (!outcome) continue;
    // Written at once: the counts are there even if the runner is killed.
    if (report) fs.appendFileSync(report, `${outcome.kind}\t${oneLine(outcome.name)}\n`);
    yield outcome.text;
  }
}

function judge(data) {
  const { name, details, nesting } = data;
  const error = details.error;
  // A file is reported as a test of its own when it crashed or timed out, or when it holds no tests.
  const isFile = nesting === 0 && name.endsWith('.mjs');
  if (details.type === 'suite' && (details.passed || error?.failureType === 'subtestsFailed')) return undefined;
  // What failed in a test's subtests has been counted there.
  if (!details.passed && error?.failureType === 'subtestsFailed') return undefined;
  if (isFile && details.passed) return undefined;

  const title = isFile ? path.relative('', name) : name;
  const where = data.file ? `${path.basename(data.file)}: ${title}` : title;
  const time = `${Math.round(details.duration_ms)} ms`;
  const put = (word, rest = '') => `${indent(data)}${word} ${where} (${time})${rest}\n`;
  const reason = (value) => (typeof value === 'string' && value ? value : 'no reason given');
  if (data.skip !== undefined) {
    return { kind: 'skip', name: `${where}: ${reason(data.skip)}`, text: put('skip', `: ${reason(data.skip)}`) };
  }
  if (data.todo !== undefined) {
    return { kind: 'skip', name: `${where}: to do: ${reason(data.todo)}`, text: put('todo') };
  }
  const silent = process.env.SABFS_BRIEF && nesting > 0;
  if (details.passed) return { kind: 'pass', name: where, text: silent ? '' : put('ok  ') };
  return { kind: 'fail', name: where, text: put('FAIL', `\n${describe(error)}`) };
}

// The runner wraps the error that a test threw.
function describe(error) {
  const cause = error?.cause ?? error;
  const text = cause instanceof Error || typeof cause === 'object' ? inspect(cause) : String(cause);
  return text.replace(/^/gm, '    ');
}

const indent = ({ nesting }) => '  '.repeat(nesting ?? 0);
const oneLine = (text) => text.replace(/\s+/g, ' ');
