// Judges what tests/programs/kill_load.c found at its start by what it had acknowledged before it was killed.
//
// The expectation is made of lines that arrived here. The program may have come further than its last line says, so
// that more may be found than was acknowledged, but never less, and never something that it cannot have been at.
import assert from 'node:assert/strict';

// As in kill_load.c.
const COUNTERS = 4;
const KEPT = 24;
const SUM = 1000;

/** What must be there before the first start. */
export function nothing() {
  return { counters: Array(COUNTERS).fill(0), mails: new Map(), removed: 0, transfers: 0 };
}

/** The words of the program's lines; a browser's console puts its level before them. */
function words(line) {
  return line.replace(/^\[\w+\] /, '').split(' ');
}

export function isReady(line) {
  return words(line)[0] === 'ready';
}

/** Compares what the program found (its lines up to `ready`) with the expectation. Returns what it found. */
export function judgeFound(lines, expected) {
  assert.ok(lines.some(isReady), 'the program came to the end of its start');
  const found = { copies: [], mails: new Map(), tmp: [], ledger: null };
  for (const [first, what, ...rest] of lines.map(words)) {
    if (first !== 'found') continue;
    if (what === 'counter') found.copies[rest[0]] = rest.slice(1).map(Number);
    else if (what === 'mail') {
      assert.equal(rest[2], undefined, `mail ${rest[0]} does not have the text that was written`);
      found.mails.set(Number(rest[0]), rest[1]);
    } else if (what === 'tmp') found.tmp.push(Number(rest[0]));
    else if (what === 'transfers') found.ledger = rest;
    else assert.fail(`an unknown line: found ${what}`);
  }
  judgeCounters(found.copies, expected.counters);
  judgeMail(found, expected);
  const transfers = judgeLedger(found.ledger, expected.transfers);
  // What was loaded is durable, acknowledged or not: it is the next round's ground.
  return {
    counters: found.copies.map(([, second]) => second),
    mails: found.mails,
    removed: found.mails.size ? Math.min(...found.mails.keys()) - 1 : 0,
    transfers,
  };
}

function judgeCounters(copies, expected) {
  assert.equal(copies.length, COUNTERS);
  for (const [i, [first, second]] of copies.entries()) {
    assert.ok(second >= expected[i], `counter ${i}: ${expected[i]} was acknowledged, ${first} and ${second} are there`);
    // Both copies are written before the fsync: another thread's commit can come between them.
    assert.ok(first === second || first === second + 1, `counter ${i}: its copies are ${first} and ${second}`);
  }
}

// Mails are made and removed one by one, in order, each step durable before the next one. So what is there is a row
// without gaps, whose length is known.
function judgeMail({ mails, tmp }, expected) {
  const numbers = [...mails.keys()].sort((a, b) => a - b);
  const [first, last] = [numbers[0] ?? 1, numbers.at(-1) ?? 0];
  assert.equal(last - first + 1, numbers.length, `mails are missing in between: ${numbers}`);
  const acknowledged = Math.max(0, ...expected.mails.keys());
  assert.ok(last >= acknowledged, `mail ${acknowledged} was acknowledged, ${last} is the last one that is there`);
  assert.ok(first > expected.removed, `the removal of mail ${expected.removed} was acknowledged, ${first} is there`);
  // The removal of a mail begins when KEPT newer ones are durable, and ends before the next mail.
  assert.ok(first <= Math.max(1, last - KEPT + 1), `mail ${first - 1} is missing; the last one is ${last}`);
  assert.ok(first >= last - KEPT, `mail ${first} is there yet; the last one is ${last}`);
  for (const [number, hash] of expected.mails) {
    if (number >= first) assert.equal(mails.get(number), hash, `mail ${number} is as it was acknowledged`);
  }
  assert.ok(tmp.length === 0 || (tmp.length === 1 && tmp[0] === last + 1), `in tmp are ${tmp}; the last mail is ${last}`);
}

function judgeLedger(ledger, expected) {
  assert.ok(ledger, 'the program read its ledger');
  const [transfers, , sum, , bad, , ...integrity] = ledger;
  assert.equal(integrity.join(' '), 'ok', "SQLite's integrity check");
  assert.equal(Number(sum), SUM, 'the sum over all accounts');
  assert.equal(Number(bad), 0, 'transfers that are missing or not in the balances');
  assert.ok(Number(transfers) >= expected, `${expected} transfers were acknowledged, ${transfers} are there`);
  return Number(transfers);
}

/** Adds what the lines acknowledge to the expectation; returns how many steps that were. */
export function addAcknowledged(lines, expected) {
  let steps = 0;
  for (const [first, what, ...rest] of lines.map(words)) {
    if (first !== 'ack') continue;
    steps++;
    const number = Number(rest[0]);
    if (what === 'counter') expected.counters[number] = Math.max(expected.counters[number], Number(rest[1]));
    else if (what === 'mail') expected.mails.set(number, rest[1]);
    else if (what === 'unmail') expected.removed = Math.max(expected.removed, number);
    else if (what === 'transfer') expected.transfers = Math.max(expected.transfers, number);
    else assert.fail(`an unknown line: ack ${what}`);
  }
  return steps;
}
