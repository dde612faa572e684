// What the SQLite tests of Node and of the browsers have in common.
import assert from 'node:assert/strict';

export const database = '/opfs/rows.db';
// 100,000 rows in the first batch; the second one is longer than anybody waits.
export const transactions = 100;
export const rows = 1000;
export const capacity = 256 << 20;

/** The arguments for sqlite_rows: the whole first batch, and a second one to be killed in. */
export function insertArguments(journalMode = 'DELETE') {
  return [
    ['insert', database, 1, transactions, rows, journalMode],
    ['insert', database, 2, 10_000, rows, journalMode],
  ].flat().map(String);
}

export const checkArguments = ['check', database, String(rows)];

/** Somewhere in the second batch: a function that says whether this line of output is the moment. */
export function momentInSecondBatch() {
  const moment = 10 + Math.floor(Math.random() * 20);
  return (line) => new RegExp(`committed 2 ${moment}$`).test(line);
}

/** How many transactions of a batch the program said to be committed, in its lines. */
export function acknowledged(lines, batch) {
  return lines.filter((line) => new RegExp(`committed ${batch} \\d+$`).test(line)).length;
}

/** Every acknowledged transaction is there and nothing is half. Returns a line for the log. */
export function assertWhole(output, lines) {
  const found = JSON.parse(output);
  assert.equal(found.integrity, 'ok');
  assert.equal(acknowledged(lines, 1), transactions, 'the first batch was acknowledged');
  const said = acknowledged(lines, 2);
  const [first, second] = [found.batches[1], found.batches[2]];
  assert.deepEqual(first, { transactions, rows: transactions * rows, partial: 0, gaps: 0, wrong: 0 });
  assert.ok(second, 'the second batch is there');
  const { transactions: kept, ...rest } = second;
  assert.deepEqual(rest, { rows: kept * rows, partial: 0, gaps: 0, wrong: 0 });
  // The kill takes a moment, in which more may be committed than the test has heard of.
  assert.ok(kept >= said, `${said} transactions were acknowledged, ${kept} are there`);
  const insert = lines.find((line) => line.includes('inserted'));
  return `${insert?.replace(/^\[\w+\] /, '')}; killed after ${said} more, of which ${kept} are there`;
}
