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
 * program that ends by itself is an error. It is killed `delay` ms after that line. The other options are those of
 * runInBrowser.
 */
export async function killBrowserWhen(isTime, browser, server, name, { delay = 0, timeout = 90_000, ...options }) {
  let quiet;
  const moment = new Promise((resolve) => {
    quiet = browser.onConsole((line) => isTime(line) && resolve());
  });
  const run = runInBrowser(browser, server, name, { prepare: '/print-to-console.mjs', ...options, timeout });
  // After the kill nobody waits for it, and it fails.
  const ended = run.then(({ code, stdout, stderr }) => {
    throw new Error(`${name} ended with code ${code} before the moment came\n${stdout.slice(-500)}\n${stderr}`);
  });
  ended.catch(() => {});
  await withTimeout(Promise.race([moment, ended]), timeout, `${name} does not come to the moment of the kill`);
  if (delay) await Promise.race([sleep(delay), ended]);
  await browser.kill();
  quiet();
  return browser.console.slice();
}
