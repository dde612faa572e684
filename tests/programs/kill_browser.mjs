// Runs an Emscripten program in a browser's page and kills the browser when a line of the program's output says so.
import { setTimeout as sleep } from 'node:timers/promises';
import { runInBrowser } from '../harness/run-program.mjs';
import { withTimeout } from '../harness/timeout.mjs';

// The page hands each line to the console at once, which is how the test hears of it while the program runs.
const SCRIPT = `export default (Module) => {
  const print = Module.print;
  Module.print = (text) => { console.log(text); print(text); };
};`;

/** To be spread into the server's routes, together with the test's own. */
export const outputRoute = { '/print-to-console.mjs': { type: 'text/javascript', body: SCRIPT } };

/**
 * Resolves with the console's lines when the browser is dead. `isTime(line)` says whether it is to be killed now; a
 * program that ends by itself is an error. It is killed `delay` ms after that line, or when the promise of the function
 * `delay(signal)` is fulfilled; the signal says that nobody waits for it any more. The other options are those of
 * runInBrowser; with `jobs`, an array of such options, the program runs once for each of them, in pages of their own.
 */
export async function killBrowserWhen(
  isTime, browser, server, name, { delay = 0, timeout = 90_000, jobs = [{}], ...options },
) {
  const over = new AbortController();
  let quiet;
  const moment = new Promise((resolve) => {
    quiet = browser.onConsole((line) => isTime(line) && resolve());
  });
  // After the kill nobody waits for them, and they fail.
  const run = async (job, page) => {
    const all = { prepare: '/print-to-console.mjs', ...options, ...job, timeout };
    const { code, stdout, stderr } = await runInBrowser(page, server, name, all);
    throw new Error(`${name} ended with code ${code} before the moment came\n${stdout.slice(-500)}\n${stderr}`);
  };
  const ended = Promise.all(jobs.map(async (job, i) => run(job, i ? await browser.newPage() : browser)));
  ended.catch(() => {});
  try {
    await withTimeout(Promise.race([moment, ended]), timeout, `${name} does not come to the moment of the kill`);
    if (typeof delay === 'function') await Promise.race([delay(over.signal), ended]);
    else if (delay) await Promise.race([sleep(delay), ended]);
  } finally {
    over.abort();
  }
  await browser.kill();
  quiet();
  return browser.console.slice();
}
