// Drives a Chromium by its DevTools protocol over a pipe. The pipe belongs to the test's process: when that process
// dies, in whatever way, the browser ends with it.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { launchTimeout, withTimeout } from './timeout.mjs';

const ARGS = [
  '--headless',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--no-default-browser-check',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-breakpad',
  // Hidden pages must run as fast as shown ones.
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  // A container's /dev/shm is often too small.
  '--disable-dev-shm-usage',
  '--hide-crash-restore-bubble',
];

/** One connection: requests get their answers by number, events go to listeners by session. */
class Connection {
  #next = 1;
  #waiting = new Map();
  #listeners = new Map();
  #buffer = Buffer.alloc(0);

  constructor(child) {
    this.input = child.stdio[3];
    this.input.on('error', () => {});
    child.stdio[4].on('data', (data) => this.#receive(data));
    child.stdio[4].on('error', () => {});
    child.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the browser ended'));
      this.#waiting.clear();
      this.closed = true;
    });
  }

  send(method, params = {}, sessionId = undefined) {
    if (this.closed) return Promise.reject(new Error('the browser ended'));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { method, resolve, reject });
      this.input.write(JSON.stringify({ id, method, params, sessionId }) + '\0');
    });
  }

  on(sessionId, listener) {
    this.#listeners.set(sessionId, listener);
  }

  #receive(data) {
    this.#buffer = Buffer.concat([this.#buffer, data]);
    for (let end; (end = this.#buffer.indexOf(0)) >= 0; ) {
      const message = JSON.parse(this.#buffer.subarray(0, end).toString('utf8'));
      this.#buffer = this.#buffer.subarray(end + 1);
      if (message.id === undefined) {
        this.#listeners.get(message.sessionId)?.(message.method, message.params);
        continue;
      }
      const request = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.error) request?.reject(new Error(`${request.method}: ${message.error.message}`));
      else request?.resolve(message.result);
    }
  }
}

/** Starts the browser; `report(level, text)` gets every console line. Resolves with {child, newPage, end,
 * command}. */
export async function startChromium({ binary, profile, report, args = [] }) {
  fs.mkdirSync(profile, { recursive: true });
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const child = spawn(
    binary,
    [...ARGS, ...sandbox, `--user-data-dir=${profile}`, '--remote-debugging-pipe', ...args, 'about:blank'],
    { detached: true, stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] },
  );
  let errors = '';
  child.stderr.on('data', (data) => (errors = (errors + data).slice(-4000)));
  await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject));
  const connection = new Connection(child);
  try {
    await withTimeout(connection.send('Browser.getVersion'), launchTimeout, 'Chromium does not answer');
  } catch (error) {
    child.kill('SIGKILL');
    throw new Error(`${error.message}; it says:\n${errors}`);
  }

  let first = true;
  const pages = [];
  async function newPage() {
    let targetId;
    if (first) {
      const { targetInfos } = await connection.send('Target.getTargets');
      targetId = targetInfos.find((target) => target.type === 'page')?.targetId;
      first = false;
    }
    if (!targetId) ({ targetId } = await connection.send('Target.createTarget', { url: 'about:blank' }));
    const { sessionId } = await connection.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(connection, sessionId, targetId, report);
    await page.open();
    pages.push(page);
    return page;
  }
  return {
    child,
    newPage,
    /** Pages whose storage goes when they do: {newPage, remove}. */
    async newContext() {
      const own = [];
      return {
        async newPage() {
          const page = await newPage();
          own.push(page);
          return page;
        },
        async remove() {
          const origins = new Set(own.flatMap((page) => [...page.origins].filter((origin) => origin.startsWith('http'))));
          await Promise.all(own.map((page) => page.close().catch(() => {})));
          for (const origin of origins) {
            await pages[0].send('Storage.clearDataForOrigin', { origin, storageTypes: 'all' });
          }
        },
      };
    },
    end: () => connection.send('Browser.close'),
    command: (method, params) => connection.send(method, params, pages[0]?.session),
  };
}

class Page {
  // The documents (loader ids) that have loaded, and who waits for one.
  #loaded = new Set();
  #waiting = new Map();
  // Where it has been.
  origins = new Set();

  constructor(connection, session, target, report) {
    Object.assign(this, { connection, session, target, report });
  }

  send(method, params) {
    return this.connection.send(method, params, this.session);
  }

  async open() {
    this.connection.on(this.session, (method, params) => {
      if (method !== 'Page.lifecycleEvent') return this.#event(method, params);
      if (params.name !== 'load') return;
      this.#loaded.add(params.loaderId);
      this.#waiting.get(params.loaderId)?.();
    });
    await Promise.all([
      this.send('Page.enable'),
      this.send('Page.setLifecycleEventsEnabled', { enabled: true }),
      this.#listen(this.session),
    ]);
  }

  // Workers are sessions of their own, and may have workers in turn.
  async #listen(session) {
    await Promise.all([
      this.connection.send('Runtime.enable', {}, session),
      this.connection.send('Log.enable', {}, session).catch(() => {}),
      this.connection.send(
        'Target.setAutoAttach',
        { autoAttach: true, waitForDebuggerOnStart: false, flatten: true },
        session,
      ),
    ]);
  }

  #event(method, params) {
    switch (method) {
      case 'Runtime.consoleAPICalled': {
        const text = params.args.map((arg) => arg.value ?? arg.unserializableValue ?? arg.description ?? arg.type);
        this.report(params.type, text.join(' '));
        break;
      }
      case 'Runtime.exceptionThrown': {
        const details = params.exceptionDetails;
        this.report('uncaught', details.exception?.description ?? details.text);
        break;
      }
      case 'Log.entryAdded':
        this.report(params.entry.level, `${params.entry.text} ${params.entry.url ?? ''}`.trim());
        break;
      case 'Inspector.targetCrashed':
        this.report('uncaught', 'the page crashed');
        break;
      case 'Target.attachedToTarget':
        this.connection.on(params.sessionId, (name, inner) => this.#event(name, inner));
        // A worker may have ended before it could be listened to.
        this.#listen(params.sessionId).catch(() => {});
        break;
    }
  }

  async goto(url, timeout) {
    this.origins.add(new URL(url).origin);
    const { loaderId, errorText } = await this.send('Page.navigate', { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
    // No loader: a move within the page. The load may have ended before the answer came.
    if (!loaderId || this.#loaded.has(loaderId)) return;
    const load = new Promise((resolve) => this.#waiting.set(loaderId, resolve));
    await withTimeout(load, timeout, `${url} does not load`);
  }

  async evaluateText(expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
      userGesture: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  async screenshot() {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(data, 'base64');
  }

  close() {
    return this.connection.send('Target.closeTarget', { targetId: this.target });
  }
}
