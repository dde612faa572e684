// Runs an Emscripten program in a Node process that is killed (SIGKILL, with all its threads) when a line of its
// output says so.
import { spawn } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';
import { killFamilyNow } from '../harness/process-tree.mjs';

const root = path.resolve(import.meta.dirname, '../..');

/**
 * Resolves with the lines that the program wrote. `isTime(line)` says whether the process is to be killed now; a
 * program that ends by itself is an error. It is killed `delay` ms after that line. args, module and prepare are those
 * of runInNode.
 */
export async function killNodeWhen(isTime, name, { args = [], module = {}, prepare, delay = 0, timeout = 60_000 }) {
  const program = path.join(root, 'dist/programs', `${name}.js`);
  const main = path.join(root, 'tests/harness/program-main.cjs');
  const node = process.env.SABFS_NODE ?? process.execPath;
  const child = spawn(node, [main, JSON.stringify({ program, args, module, prepare })], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const end = () => killFamilyNow(child.pid);
  process.once('exit', end);
  let errors = '';
  let killed = false;
  let later;
  const kill = () => {
    killed = true;
    end();
  };
  child.stderr.setEncoding('utf8').on('data', (data) => (errors += data));
  const lines = [];
  readline.createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    if (killed || later || !isTime(line)) return;
    // Without a delay at once, before any other line is read.
    if (delay) later = setTimeout(kill, delay);
    else kill();
  });
  const timer = setTimeout(end, timeout);
  const [code, signal] = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (...how) => resolve(how));
  });
  clearTimeout(timer);
  clearTimeout(later);
  process.off('exit', end);
  if (!killed) {
    const how = code === null ? `was ended (${signal}) after ${timeout} ms` : `ended with code ${code}`;
    throw new Error(`${name} ${how} before the moment came\n${lines.slice(-5).join('\n')}\n${errors}`);
  }
  return lines;
}
