// Power loss under `sabfs mount`: a virtual machine works on a mounted volume and says what it was told is durable, until
// its power fails, and its disk loses what was not flushed. SABFS_SEED repeats the choices of a run.
import assert from 'node:assert';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Disk } from './disk.mjs';
import { boot, makeDisk, prepare, unavailable } from './guest.mjs';
import { Ledger } from './judge.mjs';

const SEED = Number(process.env.SABFS_SEED ?? Math.floor(Math.random() * 2 ** 32));
const ROUNDS = Number(process.env.SABFS_ROUNDS ?? (process.env.SABFS_LONG ? 50 : 5));
const DISK_MIB = 160;
// So long nothing may come from the guest. Booting takes a few seconds, on a busy machine many.
const SILENCE_MS = 150_000;
const skip = unavailable() ?? false;

let folder, machine;
before(() => {
  if (skip) return;
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-power-'));
  machine = prepare(folder);
});
after(() => folder && fs.rmSync(folder, { recursive: true, force: true }));

// Numbers from 0 to 1 (mulberry32).
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A machine with its disk, over many failures of its power. */
class Machine {
  ledger = new Ledger();
  #random;
  #disk = new Disk(makeDisk(folder, DISK_MIB));
  #socket = path.join(folder, `disk-${Math.random().toString(36).slice(2)}`);
  #boots = 0;
  // Whether the guest was told that it made a volume.
  #exists = false;
  #guest;

  constructor(seed) {
    this.#random = generator(seed);
  }

  async start() {
    await this.#disk.serve(this.#socket);
  }

  async close() {
    await this.#guest?.kill();
    await this.#disk.close();
  }

  below(limit) {
    return Math.floor(this.#random() * limit);
  }

  /**
   * Boots, follows the guest until `isEnough(line)`, waits for the `moment` and ends the power. Gives what was wrong, and what
   * was lost. With `settings.FINAL` the guest ends by itself.
   */
  async run({ settings = {}, isEnough = () => false, moment = async () => {}, lies = false, survives }) {
    const round = ++this.#boots;
    const found = [], bad = [];
    let mode, verified = false, ended = false, loaded = false, lastLine = Date.now();
    const { promise: enough, resolve } = Promise.withResolvers();
    const onLine = (line) => {
      lastLine = Date.now();
      const [kind, ...words] = line.split(' ');
      if (kind === 'found') found.push(words.join(' '));
      else if (kind === 'bad' || kind === 'error') bad.push(line);
      else if (kind === 'disk') mode = words.join(' ');
      else if (line === 'step made') this.#exists = true;
      else if (line === 'step verified') verified = true;
      else if (line === 'step ended') ended = true;
      else if (line === 'step load') {
        // Judged now, as acknowledgements follow.
        this.#judge(found, bad);
        loaded = true;
        this.ledger.begin(round, 'OVERWRITE' in settings);
        this.#disk.lies = lies;
      } else if (!this.ledger.acknowledge(line) && kind !== 'step') bad.push(`the guest said ${JSON.stringify(line)}`);
      if (isEnough(line)) resolve();
    };
    if (this.#exists) settings = { ...settings, EXISTS: 1 };
    this.#disk.powerOn();
    this.#guest = boot({
      machine, socket: this.#socket, folder, onLine,
      settings: { ROUND: round, LAST: this.ledger.last, SEED: this.below(2 ** 31), ...settings },
    });
    const guest = this.#guest;
    const silence = setInterval(() => {
      if (Date.now() - lastLine > SILENCE_MS) bad.push('the guest fell silent') && resolve();
    }, 1000);
    await Promise.race([enough, guest.over]);
    const isOver = !settings.FINAL && (await Promise.race([
      guest.over.then(() => true),
      moment(this.#disk).then(() => false),
      sleep(SILENCE_MS, false, { ref: false }),
    ]));
    clearInterval(silence);
    // At one stroke: the disk answers nothing from here on, and nothing that it answered was not flushed.
    const lost = this.#disk.fail(survives ?? this.#survival());
    this.#disk.lies = false;
    await guest.kill();
    if (verified && !loaded) this.#judge(found, bad);
    if (isOver) bad.push('the machine ended by itself');
    if (settings.FINAL && !ended) bad.push('the machine has not ended in order');
    if (bad.length > 0) bad.push(`the console:\n${guest.console()}`);
    return { bad, lost, mode, flushes: this.#disk.flushes };
  }

  #judge(found, bad) {
    bad.push(...this.ledger.judge(found));
    found.length = 0;
  }

  // Which sectors of what was not flushed are there all the same: none, some writes as a whole, or some sectors.
  #survival() {
    const kind = this.below(3), share = [0.1, 0.5, 0.9][this.below(3)];
    if (kind === 0) return () => false;
    if (kind === 1) return () => this.#random() < share;
    let last = -1, kept;
    return (write) => {
      if (write !== last) [last, kept] = [write, this.#random() < share];
      return kept;
    };
  }
}

const isStep = (name) => (line) => line === `step ${name}`;

// When the power fails: at a flush, which is not done any more, at a write, or at any time.
function momentOf(kind, count) {
  if (kind < 2) return (disk) => disk.failAt('flush', count);
  if (kind === 2) return (disk) => disk.failAt('write', count);
  return () => sleep(5 * count);
}

// After so many acknowledgements.
function afterAcknowledged(ledger, count) {
  let enough;
  return (line) => {
    if (line === 'step load') enough = ledger.acknowledged + count;
    return ledger.acknowledged >= enough;
  };
}

async function withMachine(t, act) {
  const one = new Machine(SEED);
  console.log(`# ${t.name}: SABFS_SEED=${SEED}`);
  try {
    await one.start();
    return await act(one);
  } finally {
    await one.close();
  }
}

test(`nothing that was acknowledged is lost in ${ROUNDS} failures of the power`, { skip }, (t) =>
  withMachine(t, async (one) => {
    await t.test('a volume is there when it was made', async () => {
      const { bad } = await one.run({ isEnough: isStep('made'), survives: () => false });
      assert.deepEqual(bad, []);
    });
    for (let round = 1; round <= ROUNDS; round++) {
      let passed = false;
      await t.test(`round ${round}`, async (t) => {
        if (round % 4 === 3) {
          // The power fails again while the volume is being recovered, checked or looked at.
          const step = ['ext4', 'checked', 'mounted'][one.below(3)];
          const delay_ms = one.below(400);
          const { bad, lost } = await one.run({ isEnough: isStep(step), moment: () => sleep(delay_ms) });
          t.diagnostic(`failed after the step "${step}"; of ${lost.sectors} sectors that were not flushed ${lost.left} are left`);
          assert.deepEqual(bad, []);
        }
        const before = one.ledger.acknowledged;
        const isEnough = afterAcknowledged(one.ledger, 20 + one.below(600));
        // How long what nobody syncs stays in the guest's memory, in hundredths of a second: also that can be half on the disk.
        const settings = { WRITEBACK: [5, 30, 500][one.below(3)], ...(one.below(3) === 0 && { OVERWRITE: 1 }) };
        const moment = momentOf(one.below(4), 1 + one.below(20));
        const { bad, lost, mode, flushes } = await one.run({ isEnough, moment, settings });
        t.diagnostic(`${one.ledger.acknowledged - before} acknowledged, ${flushes} flushes so far; ` +
          `of ${lost.sectors} sectors that were not flushed ${lost.left} are left`);
        assert.deepEqual(bad, []);
        assert.equal(mode, 'write back', 'the guest has to know that the disk has a cache');
        passed = true;
      });
      // What was lost once stays lost.
      if (!passed) return;
    }
    await t.test('the last one is found, the volume unmounted and checked', async () => {
      const { bad } = await one.run({ settings: { FINAL: 1 } });
      assert.deepEqual(bad, []);
    });
    console.log(`# ${one.ledger.acknowledged} acknowledged in all; ${one.ledger.mixtures} slots were half overwritten`);
  }));

// What the test is worth: it has to notice when a flush is missing anywhere on the way.
async function mustMiss(t, { settings, lies }) {
  await withMachine(t, async (one) => {
    const { bad } = await one.run({ settings, lies, survives: () => false, isEnough: afterAcknowledged(one.ledger, 300) });
    assert.deepEqual(bad, []);
    const after = await one.run({ isEnough: isStep('verified') });
    const missing = after.bad.filter((line) => / was acknowledged|could not be mounted/.test(line));
    t.diagnostic(`${missing.length} complaints: ${missing[0]}`);
    assert(missing.length > 0, 'nothing is missed');
  });
}

test('a mount that does not flush is noticed', { skip }, (t) => mustMiss(t, { settings: { FORGETFUL: 1 } }));
test('a disk that does not flush is noticed', { skip }, (t) => mustMiss(t, { lies: true }));
