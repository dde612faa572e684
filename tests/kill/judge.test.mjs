// The judge itself: each kind of loss is found in what a program might say.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addAcknowledged, judgeFound, nothing } from './judge.mjs';

const acknowledged = [
  'ack counter 0 5', 'ack counter 1 4', 'ack counter 2 9', 'ack counter 3 1',
  'ack mail 1 a1', 'ack mail 2 a2', 'ack mail 3 a3', '[log] ack transfer 7', '[log] ack transfer 8',
];
const mails = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => `found mail ${from + i} a${from + i}`);
const rest = ['found transfers 8 sum 1000 bad 0 integrity ok', 'ready'];
const counters = ['found counter 0 5 5', 'found counter 1 5 4', '[log] found counter 2 9 9', 'found counter 3 2 2'];
const found = [...counters, ...mails(1, 3), ...rest];

function judge(lines, acks = acknowledged) {
  const expected = nothing();
  assert.equal(addAcknowledged(acks, expected), acks.length);
  return judgeFound(lines, expected);
}

test('what is there is not a loss, nor what is there beyond', () => {
  assert.deepEqual(judge(found).counters, [5, 4, 9, 2]);
  judge([...counters, ...mails(1, 4), 'found tmp 5', ...rest]);
  // The removal of the oldest mail was begun.
  judge([...counters, ...mails(2, 25), ...rest]);
  judge([...counters, ...mails(1, 25), ...rest]);
});

for (const [name, pattern, lines, acks] of [
  ['a counter that went back', /counter 2: 9 was acknowledged/, found.with(2, 'found counter 2 8 8')],
  ['copies that differ', /its copies are 7 and 5/, found.with(0, 'found counter 0 7 5')],
  ['a lost mail', /mail 3 was acknowledged, 2 is/, [...counters, ...mails(1, 2), ...rest]],
  ['a lost mail in between', /in between: 1,3/, [...counters, ...mails(1, 1), ...mails(3, 3), ...rest]],
  ['a lost mail at the beginning', /mail 1 is missing/, [...counters, ...mails(2, 3), ...rest]],
  ['mails that are all lost', /mail 3 was acknowledged, 0 is/, [...counters, ...rest]],
  ['a mail with another text', /mail 2 is as it was acknowledged/, found.with(5, 'found mail 2 b2')],
  ['a mail that is not its number\'s', /mail 3 does not have the text/, found.with(6, 'found mail 3 a3 wrong')],
  ['a mail that came back', /the removal of mail 1 was acknowledged/, [...counters, ...mails(1, 25), ...rest],
    [...acknowledged, 'ack unmail 1']],
  ['two removals at once', /mail 2 is missing/, [...counters, ...mails(3, 25), ...rest]],
  ['a draft that is not the next mail', /in tmp are 3/, [...found, 'found tmp 3']],
  ['a lost transfer', /8 transfers were acknowledged, 7 are/, found.with(7, 'found transfers 7 sum 1000 bad 0 integrity ok')],
  ['money that is lost', /the sum/, found.with(7, 'found transfers 8 sum 990 bad 0 integrity ok')],
  ['a balance that does not follow', /not in the balances/, found.with(7, 'found transfers 8 sum 1000 bad 1 integrity ok')],
  ['a damaged database', /integrity check/, found.with(7, 'found transfers 8 sum 1000 bad 0 integrity row 3 missing')],
  ['a start that did not end', /the end of its start/, found.slice(0, -1)],
]) {
  test(`the judge finds ${name}`, () => {
    assert.throws(() => judge(lines, acks), pattern);
  });
}
