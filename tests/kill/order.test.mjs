// What a sync promises, in the calls of the device: the data were written and flushed before the program goes on, and
// what refers to them was written after them.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { launch, temporaryProfile, unavailable } from '../harness/browser.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const THREADS = 3;
const STEPS = 150;
const ALL = THREADS * STEPS;
const KINDS = ['', 'write', 'written', 'flush', 'flushed', 'begin', 'acknowledge', 'carry'];
const FILES = ['', 'image', 'journal'];
const RECORD_BYTES = 1 << 20;

// In the page: starts the keeper with a record of events that the program's marks go to as well.
const PREPARE = `export default (Module) => {
  const record = new Int32Array(new SharedArrayBuffer(${RECORD_BYTES}));
  const kinds = ${JSON.stringify(KINDS)};
  const keeper = new Worker('/tests/kill/recording-keeper.js', {name: 'sabfs-keeper'});
  keeper.postMessage(record);
  Module.sabfs.keeper = keeper;
  Module.orderMark = (kind, step) => {
    const event = Atomics.add(record, 0, 1) + 1;
    record[event] = kinds.indexOf(kind) | step << 8;
  };
  globalThis.orderRecord = () => Array.from(record.subarray(1, record[0] + 1));
};`;

/** What happened at which moments: calls of the device, {file, from, to, steps}, and the program's marks by step. */
function readRecord(words) {
  assert.ok(words.length < RECORD_BYTES / 4 - 1, 'the record is large enough');
  const calls = { write: [], flush: [] };
  const marks = { begin: new Map(), acknowledge: new Map() };
  // The device has one user, so that its calls do not overlap.
  let open = null;
  for (const [moment, word] of words.entries()) {
    const [kind, file, step] = [KINDS[word & 15], FILES[(word >> 4) & 15], word >> 8];
    if (marks[kind]) marks[kind].set(step, moment);
    else if (calls[kind]) {
      assert.equal(open, null, 'a call of the device begins within another one');
      open = { file, from: moment, to: Infinity, steps: new Set() };
      calls[kind].push(open);
    } else if (kind === 'carry') open.steps.add(step);
    else {
      open.to = moment;
      open = null;
    }
  }
  return { writes: calls.write, flushes: calls.flush, ...marks };
}

/** Asserts the order for one step; returns whether its data went to the image first. */
function judge({ writes, flushes, begin, acknowledge }, step) {
  const [from, to] = [begin.get(step), acknowledge.get(step)];
  assert.ok(from < to, `step ${step} was made and acknowledged`);
  const within = writes.filter((write) => write.from > from && write.to < to);
  const flushOf = (file, after) => {
    const flush = flushes.find((one) => one.file === file && one.from > after && one.to < to);
    assert.ok(flush, `step ${step}: the ${file} is flushed before the acknowledgement`);
    return flush;
  };
  const carrying = within.filter(({ steps }) => steps.has(step));
  assert.ok(carrying.length, `step ${step}: its data are written before the acknowledgement`);
  let direct = false;
  let inRecord = false;
  for (const write of carrying) {
    if (write.file === 'journal') {
      inRecord = true;
      flushOf('journal', write.to);
    } else if (!inRecord) {
      // Data that go this way count when a record does that follows them. (Those of a record are copied to the image
      // later, which need not be durable.)
      direct = true;
      const flush = flushOf('image', write.to);
      const record = within.find(({ file, from: at }) => file === 'journal' && at > flush.to);
      assert.ok(record, `step ${step}: a record follows the flush of the image`);
      flushOf('journal', record.to);
    }
  }
  return direct;
}

const steps = Array.from({ length: ALL }, (_, i) => i + 1);

/** How many steps are acknowledged too early when some flushes never were. */
function countEarly(events, file) {
  const blind = { ...events, flushes: events.flushes.filter((flush) => flush.file !== file) };
  return steps.filter((step) => {
    try {
      judge(blind, step);
      return false;
    } catch (error) {
      assert.match(error.message, new RegExp(`the ${file} is flushed`));
      return true;
    }
  }).length;
}

for (const name of ['chromium', 'firefox']) {
  test(`${name}: written, flushed, acknowledged, ${ALL} times`, { skip: unavailable(name) }, async (t) => {
    const routes = { '/prepare.mjs': { type: 'text/javascript', body: PREPARE } };
    const server = await serve({ roots: [root], routes });
    t.after(() => server.close());
    const browser = await launch({ t, browser: name, profile: temporaryProfile(t) });
    const { code, stderr } = await runInBrowser(browser, server, 'sync-order', {
      args: ['/opfs', String(THREADS), String(STEPS)],
      module: { sabfs: { path: '/opfs', volume: 'order', capacity: 64 << 20, durability: 'strict' } },
      prepare: '/prepare.mjs',
      timeout: 120_000,
    });
    assert.equal(code, 0, stderr);
    const words = await browser.evaluate('orderRecord()');
    const events = readRecord(words);
    const direct = steps.filter((step) => judge(events, step)).length;
    // Both ways are taken, or the test is not about the second one.
    assert.ok(direct > 0 && direct < ALL, `${direct} of ${ALL} steps went to the image first`);
    assert.equal(countEarly(events, 'journal'), ALL, 'a keeper that never flushes the journal is found out each time');
    assert.equal(countEarly(events, 'image'), direct, 'a keeper that never flushes the image is found out');
    const count = (file) => events.flushes.filter((flush) => flush.file === file).length;
    console.log(`${name}: ${ALL} fsyncs, ${words.length} events, ${count('journal')} flushes of the journal, ` +
      `${count('image')} of the image, which ${direct} fsyncs needed`);
  });
}
