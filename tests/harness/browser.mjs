// One interface to Chromium and Firefox.
//
//   const browser = await launch({ profile });      // the browser that SABFS_BROWSER names
//   await browser.goto(`${server.url}/page.html`);
//   const answer = await browser.evaluate('window.ask(1)');
//   await browser.kill();                           // as a power cut would; launch again with the same profile
//
// A page's console and uncaught errors, its workers' too, collect in browser.console.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startChromium } from './chromium.mjs';
import { startFirefox } from './firefox.mjs';
import { killFamily, killFamilyNow } from './process-tree.mjs';
import { withTimeout } from './timeout.mjs';

const KINDS = {
  chromium: { start: startChromium, variable: 'SABFS_CHROMIUM' },
  firefox: { start: startFirefox, variable: 'SABFS_FIREFOX' },
};

const DEFAULT_TIMEOUT = 60_000;

/** Which browser this run is for. */
export function browserName() {
  return process.env.SABFS_BROWSER || 'chromium';
}

/** A reason to skip a browser test, or false. */
export function unavailable(name = browserName()) {
  return process.env[KINDS[name].variable] ? false : `there is no ${name} on this machine`;
}

// The browsers that this process has started and not ended: {pid, profile}.
const running = new Set();

/** A new folder for a profile, removed when the test (a node:test context) ends, after its browsers. */
export function temporaryProfile(t) {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-profile-'));
  t?.after(async () => {
    // A test's hooks run in the order of their making: browsers that were launched later are still there.
    for (const entry of running) {
      if (entry.profile === profile) await end(entry);
    }
    await fs.promises.rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  });
  return profile;
}

async function end(entry) {
  await killFamily(entry.pid, entry.profile);
  running.delete(entry);
}

process.on('exit', () => {
  for (const { pid, profile } of running) killFamilyNow(pid, profile);
});
for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => process.exit(1));

/**
 * Starts a browser. t: the test, so that the browser ends with it and its console is shown when the test failed.
 * Without a profile a temporary one is made.
 */
export async function launch({ browser = browserName(), profile, t, args, preferences } = {}) {
  const kind = KINDS[browser];
  if (!kind) throw new Error(`SABFS_BROWSER is neither chromium nor firefox: ${browser}`);
  const binary = process.env[kind.variable];
  if (!binary) throw new Error(`${kind.variable} is not set: start the tests by scripts/test ${browser}`);
  profile ??= temporaryProfile(t);

  const lines = [];
  const listeners = new Set();
  const report = (level, text) => {
    const line = `[${level}] ${text}`;
    lines.push(line);
    for (const listener of listeners) listener(line);
  };
  const driver = await kind.start({ binary, profile, report, args, preferences });
  const { child } = driver;
  const entry = { pid: child.pid, profile };
  running.add(entry);
  const ended = new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve();
    else child.once('exit', resolve);
  });
  const onConsole = (listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };

  const self = {
    name: browser,
    profile,
    pid: child.pid,
    console: lines,
    /** Calls the listener for each line from now on; returns what takes it away again. */
    onConsole,
    /** page, goto, evaluate, screenshot, and newPage: another tab of the same profile, with goto, evaluate, screenshot and close. */
    ...(await pagesOf(driver)),
    /** The same with pages and storage of its own, console and onConsole; remove() closes its pages. One at a time. */
    async newContext() {
      const context = await driver.newContext(), since = lines.length;
      return {
        name: browser,
        get console() { return lines.slice(since); },
        onConsole,
        ...(await pagesOf(context)),
        remove: () => context.remove(),
      };
    },
    isRunning: () => running.has(entry) && child.exitCode === null && child.signalCode === null,
    /**
     * Runs the task while Firefox tells nobody of its workers; the page and the task talk through the test's server, and there
     * is no other way to talk to this page from then on. While somebody hears of them (WebDriver BiDi, Firefox 153) one in 50
     * workers that a worker makes hangs, and its maker with it.
     */
    unobserved: (task) => (driver.unobserved ? driver.unobserved(task) : task()),
    /** A command of Chromium's DevTools protocol, to its first page. */
    command: (method, params) => driver.command(method, params),
    /** Ends all of the browser's processes at once and waits until they are gone. */
    async kill() {
      await end(entry);
      await ended;
    },
    /** Ends the browser in the ordinary way. */
    async close() {
      if (!running.has(entry)) return;
      await withTimeout(Promise.allSettled([driver.end(), ended]), 15_000, 'the browser does not end').catch(() => {});
      await self.kill();
    },
  };
  t?.after(async () => {
    if (!t.passed && lines.length) console.error(`--- ${browser}'s console:\n${lines.slice(-200).join('\n')}\n---`);
    await self.close();
  });
  return self;
}

// What a browser and its first page have in common.
async function pagesOf(driver) {
  const page = new Page(await driver.newPage());
  return {
    page,
    goto: (...params) => page.goto(...params),
    evaluate: (...params) => page.evaluate(...params),
    screenshot: (...params) => page.screenshot(...params),
    newPage: async () => new Page(await driver.newPage()),
  };
}

class Page {
  #driver;

  constructor(driver) {
    this.#driver = driver;
  }

  /** Opens the address and waits for the load event. */
  goto(url, { timeout = DEFAULT_TIMEOUT } = {}) {
    return this.#driver.goto(url, timeout);
  }

  /** The value of a JS expression in the page, awaited when it is a promise, as JSON carries it. */
  async evaluate(expression, { timeout = DEFAULT_TIMEOUT } = {}) {
    // The line break ends a comment at the expression's end.
    const text = `(async () => JSON.stringify(await (${expression}\n)))()`;
    const answer = this.#driver.evaluateText(text);
    answer.catch(() => {});
    const json = await withTimeout(answer, timeout, `no answer to ${expression.slice(0, 80)}`);
    return json === undefined ? undefined : JSON.parse(json);
  }

  /** Calls a function in the page with arguments that JSON carries. The function sees nothing of the test's scope. */
  call(fn, ...args) {
    return this.evaluate(`(${fn})(${args.map((arg) => JSON.stringify(arg) ?? 'undefined').join(', ')})`);
  }

  /** Writes a picture of the page (PNG). */
  async screenshot(file) {
    fs.mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
    fs.writeFileSync(file, await this.#driver.screenshot());
  }

  close() {
    return this.#driver.close();
  }
}
