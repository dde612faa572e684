// Runs Emscripten programs in Node processes that are killed (SIGKILL, with all their threads) when a line of their
// output says so.
import { spawn } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';
import { killFamilyNow } from '../harness/process-tree.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const main = path.join(root, 'tests/harness/program-main.cjs');

// Resolves with how it ended; `hear` gets its lines.
function start(program, { args = [], module = {}, prepare }, hear) {
  const node = process.env.SABFS_NODE ?? process.execPath;
  const child = spawn(node, [main, JSON.stringify({ program, args, module, prepare })], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (data) => (errors += data));
  readline.createInterface({ input: child.stdout }).on('line', hear);
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, errors }));
  });
  return { pid: child.pid, ended };
}

/**
 * Runs the program once for each of `jobs`, at the same time: {args, module, prepare} are those of runInNode, `lines` is
 * an array that gets the lines that it writes. `isTime(line)` says of a line of any of them whether all processes are to be
 * killed now; a program that ends by itself is an error. They are killed `delay` ms after that line, or when the promise of
 * the function `delay(signal)` is fulfilled; the signal says that nobody waits for it any more.
 */
export async function killNodesWhen(isTime, name, jobs, { delay = 0, timeout = 60_000 } = {}) {
  const program = path.join(root, 'dist/programs', `${name}.js`);
  const over = new AbortController();
  let killed = false;
  let come = false;
  let late = false;
  let later;
  const processes = [];
  const end = () => {
    for (const { pid } of processes) killFamilyNow(pid);
  };
  const kill = () => {
    if (over.signal.aborted) return;
    killed = true;
    end();
  };
  const hear = (line, { lines }) => {
    lines.push(line);
    if (come || !isTime(line)) return;
    come = true;
    // Without a delay at once, before any other line is read.
    if (typeof delay === 'function') delay(over.signal).then(kill);
    else if (delay) later = setTimeout(kill, delay);
    else kill();
  };
  process.once('exit', end);
  const timer = setTimeout(() => {
    late = true;
    end();
  }, timeout);
  try {
    for (const job of jobs) processes.push(start(program, job, (line) => hear(line, job)));
    await Promise.all(processes.map(async ({ ended }, i) => {
      const { code, signal, errors } = await ended;
      if (killed) return;
      const how = late ? `was ended after ${timeout} ms` : `ended with code ${code ?? signal}`;
      throw new Error(`${name} ${how} before the moment came\n${jobs[i].lines.slice(-5).join('\n')}\n${errors}`);
    }));
  } finally {
    over.abort();
    clearTimeout(timer);
    clearTimeout(later);
    process.off('exit', end);
    if (!killed) end();
  }
}

/** The same for one program, whose options are those of a job too. Resolves with its lines. */
export async function killNodeWhen(isTime, name, options) {
  const lines = [];
  await killNodesWhen(isTime, name, [{ ...options, lines }], options);
  return lines;
}
