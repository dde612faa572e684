// Runs a program that Emscripten built (dist/programs/NAME.js, or dist/FOLDER/NAME.js for FOLDER/NAME), in a browser's
// page or in Node, and resolves with {code, stdout, stderr}.
//
// Options for both:
//   args     the program's arguments
//   module   settings for the program's Module, as JSON carries them (such as {sabfs: {…}})
//   prepare  a JS module whose default export is called with Module (and awaited) before the program starts, for
//            settings that JSON cannot carry; in Node a file's path, in a browser an address
//   worker   in a browser: run it in a dedicated worker instead of the page's thread
//   timeout  in ms; afterwards the program is given up, which is an error that holds its output so far
import { spawn } from 'node:child_process';
import path from 'node:path';
import { killFamilyNow } from './process-tree.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const DEFAULT_TIMEOUT = 60_000;

const script = (name) => `dist/${name.includes('/') ? name : `programs/${name}`}.js`;

/** In a page of the browser. The server (server.mjs) must have the repository among its roots. */
export async function runInBrowser(page, server, name, options = {}) {
  const { timeout = DEFAULT_TIMEOUT } = options;
  await page.goto(`${server.url}/tests/harness/program.html`);
  const request = { url: `/${script(name)}`, ...options, timeout };
  // The page minds the time itself; this limit is for a page that is stuck.
  const result = await page.evaluate(`runProgram(${JSON.stringify(request)})`, { timeout: timeout + 10_000 });
  return finish(name, timeout, result);
}

/** Resolves when what the program that runs in the page has written to its standard output matches the pattern. */
export async function hasWritten(page, pattern, timeout_ms = DEFAULT_TIMEOUT) {
  const end = Date.now() + timeout_ms;
  while (!pattern.test(await page.evaluate(`window.result?.stdout ?? ''`))) {
    if (Date.now() > end) throw new Error(`the program has not written ${pattern}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** In a process of its own. node: the binary (default SABFS_NODE); env: added to the environment; cwd: where preloaded files are looked for. */
export async function runInNode(name, options = {}) {
  const { args = [], module, prepare, timeout = DEFAULT_TIMEOUT, env = {}, cwd, input, flags = [] } = options;
  const node = options.node ?? process.env.SABFS_NODE ?? process.execPath;
  const program = path.join(root, script(name));
  // Without settings the program is started as a user would.
  const command =
    module || prepare
      ? [path.join(import.meta.dirname, 'program-main.cjs'), JSON.stringify({ program, args, module, prepare })]
      : [program, ...args];
  const child = spawn(node, [...flags, ...command], {
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    cwd,
    detached: true,
  });
  const result = { code: null, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (data) => (result.stdout += data));
  child.stderr.setEncoding('utf8').on('data', (data) => (result.stderr += data));
  if (input !== undefined) child.stdin.end(input);
  // A signal's name serves as the code, so that a crash is never mistaken for an exit.
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  const timer = setTimeout(() => {
    result.timedOut = true;
    killFamilyNow(child.pid);
  }, timeout);
  result.code = await ended;
  clearTimeout(timer);
  return finish(name, timeout, result);
}

function finish(name, timeout, { code, stdout, stderr, timedOut }) {
  if (timedOut) {
    throw new Error(`${name} did not end in ${timeout} ms\n--- stdout\n${stdout}\n--- stderr\n${stderr}`);
  }
  return { code, stdout, stderr };
}
