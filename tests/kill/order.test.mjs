// What a sync promises, in the calls of the device: the data were written and flushed before the program goes on, and
// what refers to them was written after them.
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { launch, temporaryProfile, unavailable } from '../harness/browser.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const STEPS = 60;
const KINDS = ['', 'write', 'written', 'flush', 'flushed', 'begin', 'acknowledge'];
const FILES = ['', 'image', 'journal'];

// In the page: starts the keeper with a record of events that the program's marks go to as well.
const PREPARE = `export default (Module) => {
  const record = new Int32Array(new SharedArrayBuffer(1 << 20));
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

/** Asserts the order for each step; returns how many of them went to the image first. */
function judge(events) {
  const at = (from, kind, file, step) =>
    events.findIndex((event, i) => i >= from && event.kind === kind && (!file || event.file === file) &&
      (step === undefined || event.step === step));
  const last = (from, to, file, step) =>
    events.findLastIndex((event, i) => i > from && i < to && event.kind === 'written' && event.file === file &&
      event.step === step);
  let direct = 0;
  for (let step = 1; step <= STEPS; step++) {
    const begin = at(0, 'begin', undefined, step);
    const acknowledged = at(begin, 'acknowledge', undefined, step);
    assert.ok(begin >= 0 && acknowledged > begin, `step ${step} was made and acknowledged`);
    // A call that is there, returned, and did so before the acknowledgement.
    const before = (from, kind, file, wanted) => {
      const event = at(from, kind, file, wanted);
      const said = `step ${step}: ${kind} of the ${file ?? 'image or the journal'} comes before the acknowledgement`;
      assert.ok(event >= 0 && event < acknowledged, said);
      return event;
    };
    let written = before(begin, 'written', undefined, step);
    if (events[written].file === 'image') {
      direct++;
      const flush = before(written, 'flush', 'image');
      const record = before(before(flush, 'flushed', 'image'), 'write', 'journal');
      // The flush covers all of the data that go this way. After the record their copies may be checkpointed.
      assert.ok(last(flush, record, 'image', step) < 0, `step ${step}: data are written after the flush of the image`);
      written = before(record, 'written', 'journal');
    }
    written = Math.max(written, last(begin, acknowledged, 'journal', step));
    before(before(written, 'flush', 'journal'), 'flushed', 'journal');
  }
  return direct;
}

for (const name of ['chromium', 'firefox']) {
  test(`${name}: written, flushed, acknowledged, ${STEPS} times`, { skip: unavailable(name) }, async (t) => {
    const routes = { '/prepare.mjs': { type: 'text/javascript', body: PREPARE } };
    const server = await serve({ roots: [root], routes });
    t.after(() => server.close());
    const browser = await launch({ t, browser: name, profile: temporaryProfile(t) });
    const { code, stderr } = await runInBrowser(browser, server, 'sync-order', {
      args: ['/opfs', String(STEPS)],
      module: { sabfs: { path: '/opfs', volume: 'order', capacity: 64 << 20, durability: 'strict' } },
      prepare: '/prepare.mjs',
    });
    assert.equal(code, 0, stderr);
    const events = (await browser.evaluate('orderRecord()')).map((word) => (
      { kind: KINDS[word & 15], file: FILES[(word >> 4) & 15], step: word >> 8 }));
    const direct = judge(events);
    // Both ways are taken, or the test is not about the second one.
    assert.ok(direct > 0 && direct < STEPS, `${direct} of ${STEPS} steps went to the image first`);
    for (const file of ['image', 'journal']) {
      const unflushed = events.filter((event) => event.kind !== 'flushed' || event.file !== file);
      assert.throws(() => judge(unflushed), /flushed of the/, `a keeper that never flushes the ${file} is found out`);
    }
    console.log(`${name}: ${events.length} events, ${direct} of ${STEPS} steps went to the image first`);
  });
}
