// The judge itself: each kind of loss is found in what a program might say, and nothing else is taken for one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countSteps, Judge, LOADS } from './judge.mjs';

const ledgers = ['TRUNCATE', 'PERSIST', 'WAL', 'DELETE'];
// What the first start finds.
const nothing = [
  ...[0, 1, 2].map((i) => `found counter ${i}`), ...ledgers.map((mode) => `found ledger ${mode} 0 0 0 0 ok`), 'ready',
];
const told = [
  'ack counter 0 7 1', 'ack counter 0 9 2', 'ack counter 0 7 3', 'ack counter 2 255 1',
  'ack mail 4-0', 'ack mail 4-1', 'begin unmail 4-0', 'ack unmail 4-0', 'ack mail 4-2',
  '[log] ack ledger WAL 1', 'ack ledger WAL 2',
];
// What the second one finds, by its kinds.
const right = {
  entries: ['counters', 'counters/0', 'counters/1', 'counters/2', 'mail', 'mail/new', 'mail/tmp',
    ...ledgers.map((mode) => `ledger-${mode}.db`), 'ledger-PERSIST.db-journal', 'ledger-WAL.db-wal'],
  counters: ['0 7:3 9:2', '1', '2 255:1'],
  mails: ['4-1 right', '4-2 right'],
  drafts: [],
  ledgers: ['TRUNCATE 0 0 0 0 ok', 'PERSIST 0 0 0 0 ok', 'WAL 2 2 0 0 ok', 'DELETE 0 0 0 0 ok'],
  rest: ['ready'],
};

/** Judges a second start that finds this instead of `right`; `more`: what the first one said besides. */
function judge(found, more = []) {
  const { entries, counters, mails, drafts, ledgers: all, rest } = { ...right, ...found };
  const instance = new Judge(LOADS);
  instance.start([...nothing, ...told, ...more], 4, 'WAL');
  const lines = (what, list) => list.map((one) => `found ${what} ${one}`);
  instance.start([...lines('entry', entries.map((name) => `${name} 4096`)), ...lines('counter', counters), ...lines('mail', mails),
    ...lines('tmp', drafts), ...lines('ledger', all), ...rest], 5);
  return instance;
}

test('the steps are counted', () => assert.deepEqual(countSteps(told), { counters: 4, mail: 4, ledger: 2 }));

test('what was acknowledged is not a loss, and what was under way may be there', () => {
  judge({});
  judge({ counters: ['0 7:4 9:2', '1 0:1', '2 2:2 255:1'] });
  judge({ mails: [...right.mails, '4-3 right'] });
  judge({ drafts: ['4-3 right'] });
  judge({ mails: ['4-2 right'] }, ['begin unmail 4-1']);
  judge({}, ['begin unmail 4-1']);
  judge({ ledgers: right.ledgers.with(2, 'WAL 3 3 0 0 ok') });
  judge({ entries: right.entries.filter((name) => !/-(wal|journal)/.test(name)) });
});

test('what a start has found the next one must find, and nothing else', () => {
  const again = judge({ mails: [...right.mails, '4-3 right'], counters: ['0 7:4 9:2', '1', '2 255:1'] });
  const lines = (counter, mail) => [
    ...right.entries.filter((name) => !name.endsWith('wal')).map((name) => `found entry ${name} 4096`),
    `found counter 0 ${counter}`, 'found counter 1', 'found counter 2 255:1',
    'found mail 4-1 right', 'found mail 4-2 right', ...mail,
    ...right.ledgers.map((ledger) => `found ledger ${ledger}`), 'ready',
  ];
  again.start(lines('7:4 9:2', ['found mail 4-3 right']), 6);
  assert.throws(() => again.start(lines('7:5 9:2', ['found mail 4-3 right']), 7), /has 5 at place 7/);
  assert.throws(() => again.start(lines('7:4 9:2', []), 7), /mail 4-3 was acknowledged/);
});

test('a journal that was not synced yet lies until the next transaction', () => {
  const ledger = (...entries) => [...ledgers.map((mode) => `ledger-${mode}.db 4096`), ...entries].map((one) => `found entry ${one}`);
  const found = nothing.filter((line) => !line.startsWith('found counter'));
  const after = (size, mode) => {
    const instance = new Judge(['ledger']);
    instance.start(found, 0, mode);
    instance.start([...ledger(`ledger-DELETE.db-journal ${size}`), ...found], 1, 'PERSIST');
    return instance;
  };
  after(512, 'DELETE').start([...ledger('ledger-DELETE.db-journal 512'), ...found], 2);
  after(512, 'DELETE').start([...ledger(), ...found], 2);
  const another = [...ledger('ledger-DELETE.db-journal 1024'), ...found];
  assert.throws(() => after(512, 'DELETE').start(another, 2), /nobody has made ledger-DELETE/);
  assert.throws(() => after(0, 'WAL'), /nobody has made ledger-DELETE/);
});

const wal = (line) => ({ ledgers: right.ledgers.with(2, `WAL ${line}`) });
for (const [name, pattern, found, more] of [
  ['a counter that went back', /0 has 1 at place 7, where 3 was/, { counters: right.counters.with(0, '0 7:1 9:2') }],
  ['a place with nothing', /0 has 0 at place 9, where 2 was/, { counters: right.counters.with(0, '0 7:3') }],
  ['half a record', /half written at place 7/, { counters: right.counters.with(0, '0 7:-1 9:2') }],
  ['a counter from the future', /has 5 at place 9/, { counters: right.counters.with(0, '0 7:3 9:5') }],
  ['two steps of a counter', /has 4 at place 9/, { counters: right.counters.with(0, '0 7:4 9:4') }],
  ['an old number at a new place', /has 2 at place 1, where 0/, { counters: right.counters.with(0, '0 1:2 7:3 9:2') }],
  ['counters that are not there', /looked at its counters/, { counters: [] }],
  ['a lost mail', /mail 4-2 was acknowledged/, { mails: ['4-1 right'] }],
  ['mails that are all lost', /mail 4-1 was acknowledged/, { mails: [] }],
  ['a mail with another text', /mail 4-1 does not have its text/, { mails: ['4-1 wrong', '4-2 right'] }],
  ['a mail that came back', /mail 4-0 is back/, { mails: ['4-0 right', ...right.mails] }],
  ['two mails more', /mail 4-4 is there and/, { mails: [...right.mails, '4-3 right', '4-4 right'] }],
  ['a mail twice', /twice/, { mails: [...right.mails, '4-2 right'] }],
  ['a mail while another one leaves', /mail 4-3 is there/, { mails: [...right.mails, '4-3 right'] }, ['begin unmail 4-1']],
  ['another mail that leaves', /mail 4-2 was acknowledged/, { mails: ['4-1 right'] }, ['begin unmail 4-1']],
  ['a draft of a mail that is there', /draft 4-2 is there/, { drafts: ['4-2 right'] }],
  ['a draft of the mail that is new', /draft 4-3/, { mails: [...right.mails, '4-3 right'], drafts: ['4-3 right'] }],
  ['half a piece of a draft', /draft 4-3 is not the beginning/, { drafts: ['4-3 wrong'] }],
  ['a lost transfer', /2 transfers were acknowledged, 1 are/, wal('1 1 0 0 ok')],
  ['a lost transfer in between', /missing in between/, wal('1 2 0 0 ok')],
  ['two transfers more', /WAL: 4 transfers are there/, wal('4 4 0 0 ok')],
  ['a transfer in another mode', /TRUNCATE: 1 transfers/, { ledgers: right.ledgers.with(0, 'TRUNCATE 1 1 0 0 ok') }],
  ['money that is lost', /the sum/, wal('2 2 -10 0 ok')],
  ['a row that does not follow', /do not follow/, wal('2 2 0 1 ok')],
  ['a damaged database', /integrity check/, wal('2 2 0 0 row 3 missing')],
  ['a ledger that is not there', /looked at its ledgers/, { ledgers: right.ledgers.slice(1) }],
  ['a file that nobody made', /nobody has made mail\/cur/, { entries: [...right.entries, 'mail/cur'] }],
  ['a journal of another mode', /nobody has made ledger-D/, { entries: [...right.entries, 'ledger-DELETE.db-journal'] }],
  ['a missing file', /counters\/1: acknowledged and missing/, { entries: right.entries.toSpliced(2, 1) }],
  ['a name that is there twice', /there twice/, { entries: [...right.entries, 'mail'] }],
  ['a start that did not end', /the end of its start/, { rest: [] }],
]) {
  test(`the judge finds ${name}`, () => assert.throws(() => judge(found, more), pattern));
}

test('before the first start nothing is there', () => {
  assert.throws(() => new Judge(LOADS).start(['found entry mail 0', ...nothing], 0), /nobody has made mail/);
  assert.throws(() => new Judge(LOADS).start(nothing.with(0, 'found counter 0 1:1'), 0), /has 1 at place 1/);
});
