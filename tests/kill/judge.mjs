// Judges what tests/programs/kill_load.c found at its start by what it had acknowledged before it was killed.
//
// Each of its threads does one step after the other and says so when the step is durable. So at a kill one step of each
// thread may be under way: it is there as a whole, or not at all. Everything else is exactly as it was acknowledged, or
// found by the last start.
import assert from 'node:assert/strict';

export const LOADS = ['counters', 'mail', 'ledger'];
export const MODES = ['TRUNCATE', 'PERSIST', 'WAL', 'DELETE'];
// As in kill_load.c.
const COUNTERS = 3;

/** The words of the program's lines; a browser's console puts its level before them. */
function words(line) {
  return line.replace(/^\[\w+\] /, '').split(' ');
}

export function isReady(line) {
  return words(line)[0] === 'ready';
}

/** How many steps the lines acknowledge, for each load. */
export function countSteps(lines) {
  const loads = { counter: 'counters', mail: 'mail', unmail: 'mail', ledger: 'ledger' };
  const steps = { counters: 0, mail: 0, ledger: 0 };
  for (const [first, what] of lines.map(words)) {
    if (first === 'ack') steps[loads[what]]++;
  }
  return steps;
}

/** What is known of one volume, from round to round. */
export class Judge {
  #loads;
  // Nothing is there before the first start.
  #started = false;
  // Of each counter its last number, and the number at each place.
  #counters = Array.from({ length: COUNTERS }, () => ({ last: 0, places: new Map() }));
  #mails = new Set();
  #removed = new Set();
  // A mail whose removal was begun and not acknowledged.
  #leaving = null;
  // The last start's round, how many mails it has delivered, and the mode of its ledger; `mode` is null when it only
  // looked.
  #round = 0;
  #delivered = 0;
  #mode = null;
  // The size of a journal that a kill has left in the mode DELETE. SQLite lets it lie until the next transaction if it
  // was not synced yet.
  #coldJournal;
  // Each mode's last transfer.
  #transfers = new Map(MODES.map((mode) => [mode, 0]));

  /** loads: those that run on the volume. */
  constructor(loads) {
    this.#loads = loads;
  }

  /**
   * Judges one start by its lines. round, mode: the program's arguments; without a mode it only looks, and nothing is
   * under way at the next start.
   */
  start(lines, round, mode = null) {
    const ready = lines.findIndex(isReady);
    assert.ok(ready >= 0, 'the program did not come to the end of its start');
    this.#look(lines.slice(0, ready).map(words));
    this.#started = true;
    this.#round = round;
    this.#delivered = 0;
    this.#mode = mode;
    this.#leaving = null;
    for (const [first, what, ...rest] of lines.slice(ready + 1).map(words)) {
      if (first === 'ack') this.#acknowledge(what, rest);
      else if (first === 'begin') this.#leave(rest[0]);
    }
  }

  #look(lines) {
    const found = { entry: [], counter: [], mail: [], tmp: [], ledger: [] };
    for (const [first, what, ...rest] of lines) {
      if (first !== 'found') continue;
      assert.ok(found[what], `an unknown line: found ${what}`);
      found[what].push(rest);
    }
    this.#judgeEntries(new Map(found.entry), found.entry.length);
    const has = (load) => this.#loads.includes(load);
    assert.equal(found.counter.length, has('counters') ? COUNTERS : 0, 'the program looked at its counters');
    assert.equal(found.ledger.length, has('ledger') ? MODES.length : 0, 'the program looked at its ledgers');
    for (const counter of found.counter) this.#judgeCounter(counter);
    this.#judgeMails(found.mail, found.tmp);
    for (const ledger of found.ledger) this.#judgeLedger(ledger);
  }

  // No file is there that nobody has made, and none is missing; the mails have lines of their own.
  #judgeEntries(sizes, count) {
    assert.equal(sizes.size, count, `a name is there twice: ${[...sizes.keys()]}`);
    const required = new Set();
    const allowed = new Set();
    if (this.#started && this.#loads.includes('counters')) {
      required.add('counters');
      for (let i = 0; i < COUNTERS; i++) required.add(`counters/${i}`);
    }
    if (this.#started && this.#loads.includes('mail')) {
      for (const name of ['mail', 'mail/tmp', 'mail/new']) required.add(name);
    }
    if (this.#started && this.#loads.includes('ledger')) {
      for (const mode of MODES) required.add(`ledger-${mode}.db`);
      // Two modes keep their journals; the others' are there only while the database is open.
      for (const mode of ['TRUNCATE', 'PERSIST']) allowed.add(`ledger-${mode}.db-journal`);
      if (this.#mode === 'WAL') allowed.add('ledger-WAL.db-wal');
      const journal = 'ledger-DELETE.db-journal';
      if (this.#mode === 'DELETE' || this.#coldJournal === sizes.get(journal)) allowed.add(journal);
      this.#coldJournal = sizes.get(journal);
    }
    for (const name of sizes.keys()) assert.ok(required.delete(name) || allowed.has(name), `nobody has made ${name}`);
    assert.equal(required.size, 0, `${[...required]}: acknowledged and missing`);
  }

  #judgeCounter([name, ...pairs]) {
    const counter = this.#counters[name];
    const found = new Map(pairs.map((pair) => pair.split(':').map(Number)));
    const { last, places } = counter;
    for (const place of new Set([...places.keys(), ...found.keys()])) {
      const right = places.get(place) ?? 0;
      const there = found.get(place) ?? 0;
      if (there === right) continue;
      assert.notEqual(there, -1, `counter ${name} is half written at place ${place}, where ${right} was acknowledged`);
      assert.ok(there <= last + 1, `counter ${name} has ${there} at place ${place} and had only come to ${last}`);
      // The step that was under way.
      if (there === last + 1 && counter.last === last && this.#mode) counter.last = there;
      else assert.fail(`counter ${name} has ${there} at place ${place}, where ${right} was acknowledged`);
    }
    counter.places = found;
  }

  #judgeMails(mails, drafts) {
    const next = this.#mode && !this.#leaving ? this.#nextMail() : null;
    const found = new Set(mails.map(([name]) => name));
    assert.equal(found.size, mails.length, 'a mail is there twice');
    for (const [name, right] of mails) {
      assert.equal(right, 'right', `mail ${name} does not have its text`);
      assert.ok(!this.#removed.has(name), `mail ${name} is back, whose removal was acknowledged`);
      assert.ok(this.#mails.has(name) || name === next, `mail ${name} is there and was never delivered`);
    }
    for (const name of this.#mails) {
      assert.ok(found.has(name) || name === this.#leaving, `mail ${name} was acknowledged and is missing`);
      if (!found.has(name)) this.#removed.add(name);
    }
    for (const [name, right] of drafts) {
      assert.ok(name === next && !found.has(name), `the draft ${name} is there and was not under way`);
      assert.equal(right, 'right', `the draft ${name} is not the beginning of its text`);
    }
    this.#mails = found;
  }

  #judgeLedger([mode, count, last, more, bad, ...integrity]) {
    const acknowledged = this.#transfers.get(mode);
    assert.equal(integrity.join(' '), 'ok', `SQLite's integrity check of ${mode}`);
    assert.equal(more, '0', `the sum over all accounts of ${mode} is another one`);
    assert.equal(count, last, `${mode}: transfers are missing in between`);
    assert.equal(bad, '0', `${mode}: rows that do not follow from the transfers' numbers`);
    const there = Number(last);
    assert.ok(there >= acknowledged, `${mode}: ${acknowledged} transfers were acknowledged, ${last} are there`);
    const most = acknowledged + (mode === this.#mode ? 1 : 0);
    assert.ok(there <= most, `${mode}: ${last} transfers are there, it had only come to ${acknowledged}`);
    this.#transfers.set(mode, there);
  }

  #nextMail() {
    return `${this.#round}-${this.#delivered}`;
  }

  #acknowledge(what, [name, ...rest]) {
    if (what === 'counter') {
      const counter = this.#counters[name];
      const [place, number] = rest.map(Number);
      assert.equal(number, counter.last + 1, `counter ${name} goes on with its next number`);
      counter.last = number;
      counter.places.set(place, number);
    } else if (what === 'mail') {
      assert.equal(name, this.#nextMail(), 'mails are delivered in order');
      this.#delivered++;
      this.#mails.add(name);
    } else if (what === 'unmail') {
      assert.equal(name, this.#leaving, 'the mail that is removed is the one whose removal was begun');
      this.#mails.delete(name);
      this.#removed.add(name);
      this.#leaving = null;
    } else if (what === 'ledger') {
      assert.equal(name, this.#mode, 'the ledger has the mode that it was given');
      assert.equal(Number(rest[0]), this.#transfers.get(name) + 1, `${name} goes on with its next transfer`);
      this.#transfers.set(name, Number(rest[0]));
    } else assert.fail(`an unknown line: ack ${what}`);
  }

  #leave(name) {
    assert.ok(this.#mails.has(name) && !this.#leaving, `mail ${name} is there to be removed`);
    this.#leaving = name;
  }
}
