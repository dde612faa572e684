// The page: starts the program with its volume and connects it with the shell, the file list and the volume's figures.
import { EXAMPLES } from './examples.js';
import { size } from './format.js';
import { explain, findProblem, showProblem } from './problems.js';
import { Terminal } from './terminal.js';
import { Tree } from './tree.js';
import { VolumeView } from './volume.js';

const SABFS = { path: '/opfs', volume: 'demo', capacity: 256 << 20, durability: 'strict' };
const PLUG = 'sabfs-demo-plug';

const $ = (selector) => document.querySelector(selector);

theme();
const terminal = new Terminal($('#terminal'), { send, interrupt: () => program?._demo_interrupt() });
const tree = new Tree($('#tree'), $('#count'));
let program;
// The latest transaction that the program said to be durable.
let acknowledged;
// After a crash: takes the tables of the check, and then says how it went.
let awaited, verdict;

for (const [name, title, text] of EXAMPLES) {
  const button = Object.assign(document.createElement('button'), { type: 'button', textContent: name, title });
  button.addEventListener('click', () => {
    terminal.enter(text);
    terminal.focus();
  });
  $('#examples').append(button);
}
$('#crash').addEventListener('click', pullThePlug);
start();

async function start() {
  const problem = await findProblem();
  if (problem) return showProblem(problem);
  setState('busy', 'opening the volume…');
  try {
    const { default: create } = await import('./sqlite-shell.js');
    program = await create({
      sabfs: { ...SABFS, onProgress: showLoading },
      arguments: [`${SABFS.path}/demo.db`],
      onMessage: receive,
      print: (text) => terminal.say('text', text),
      printErr: (text) => terminal.say('error', text),
      onAbort: (reason) => ended(`the program aborted: ${reason}`),
    });
    new VolumeView($('#volume'), $('#durable'), await program.mountSABFS({ ...SABFS }));
  } catch (error) {
    console.error(error);
    showProblem(explain(error));
  }
}

function showLoading({ phase, doneBytes, totalBytes }) {
  setState('busy', `${phase === 'load' ? 'loading' : 'recovering'} ${size(doneBytes)} of ${size(totalBytes)}`);
}

// A line goes to the queue in the program's memory; on the rare occasion that it has no room, again later.
function send(line) {
  // The program may ask for its first line before the page has it in hand.
  if (!program) return setTimeout(() => send(line), 5);
  const text = program.stringToNewUTF8(line);
  const taken = program._demo_input(text);
  program._free(text);
  if (!taken) setTimeout(() => send(line), 20);
}

function receive(message) {
  switch (message.type) {
    case 'hello': return greet(message);
    case 'prompt':
      acknowledged = undefined;
      terminal.showPrompt(message);
      verdict?.();
      return;
    case 'table':
      terminal.showTable(message);
      return awaited?.(message);
    case 'progress':
      acknowledged = message;
      terminal.showProgress(message);
      // A moment later, so that it comes at no particular point of the next transaction.
      if (message.done === pullAt) setTimeout(pullNow, 10 * Math.random());
      return;
    case 'tree': return tree.show(message);
    default: return terminal.say(message.type, message.text);
  }
}

function greet({ sqlite, database, size: before }) {
  setState('good', 'running');
  $('#database').textContent = database;
  $('#crash').disabled = false;
  const promise = 'synchronous=EXTRA: a commit is on the device when the prompt is back.';
  terminal.say('note', `SQLite ${sqlite}, unmodified, with its own unix VFS. ${promise}`);
  if (before >= 0) terminal.say('good', `${database} is still there: ${size(before)}.`);
  else terminal.say('note', `${database} is new. Try an example above, or type SQL; .help lists the commands.`);
  terminal.placeholder = before >= 0 ? 'SELECT …;' : 'CREATE TABLE …;';
  afterTheCrash();
  terminal.focus();
}

// --- the crash: every worker is ended wherever it is, and the page starts anew

let pullAt;

function pullThePlug() {
  if (acknowledged) return pullNow();
  // Something to interrupt: many small transactions, and the plug is pulled in the middle.
  pullAt = 40 + Math.floor(Math.random() * 40);
  $('#crash').disabled = true;
  terminal.enter('.bulk 1000 100');
}

function pullNow() {
  // The command may have ended meanwhile.
  if (!acknowledged) return;
  sessionStorage.setItem(PLUG, JSON.stringify(acknowledged));
  program.PThread.terminateAllThreads();
  // At once: a browser may let a thread that is being ended run on for a while.
  location.reload();
}

function afterTheCrash() {
  const said = JSON.parse(sessionStorage.getItem(PLUG));
  if (!said) return;
  sessionStorage.removeItem(PLUG);
  const { run, done, rows } = said;
  const claim = `transaction ${done} of run ${run} had been said to be durable`;
  terminal.say('note', `The plug was pulled when ${claim}. Is everything there?`);
  const answers = [];
  awaited = (table) => {
    answers.push(table.rows[0]);
    if (answers.length < 2) return;
    awaited = undefined;
    verdict = () => {
      verdict = undefined;
      judge(answers, said);
    };
  };
  terminal.enter('PRAGMA integrity_check;');
  terminal.enter(`SELECT count(*) AS transactions, sum(n) AS rows, sum(n <> ${rows}) AS partial
FROM (SELECT count(*) AS n FROM bulk WHERE run = ${run} GROUP BY txn);`);
}

function judge([[integrity] = [], numbers = []], { done, rows }) {
  const [transactions, found, partial] = numbers.map((value) => Number(value.slice(1)));
  const counts = `${done} transactions were acknowledged, ${transactions} are there`;
  if (integrity === 'tok' && transactions >= done && partial === 0) {
    terminal.say('good', `✓ ${counts}, each with its ${rows} rows (${found}), and the database is sound.`);
  } else {
    terminal.say('error', `✗ ${counts}, ${partial} of them not whole.`);
  }
}

function ended(why) {
  terminal.say('error', why);
  setState('bad', 'ended');
}

function setState(state, text) {
  $('#state').className = `chip ${state}`;
  $('#state').textContent = text;
}

// Light or dark as the system says, until the button is used.
function theme() {
  const root = document.documentElement;
  const stored = localStorage.getItem('sabfs-demo-theme');
  if (stored) root.dataset.theme = stored;
  $('#theme').addEventListener('click', () => {
    const now = root.dataset.theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
    root.dataset.theme = now === 'dark' ? 'light' : 'dark';
    localStorage.setItem('sabfs-demo-theme', root.dataset.theme);
  });
}
