// Drives a Firefox by WebDriver BiDi, which it speaks itself: no driver program is needed.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { launchTimeout, withTimeout } from './timeout.mjs';

// Nothing may go to the network, and nothing may ask.
const PREFERENCES = {
  'app.update.enabled': false,
  'browser.aboutwelcome.enabled': false,
  'browser.safebrowsing.malware.enabled': false,
  'browser.safebrowsing.phishing.enabled': false,
  'browser.sessionstore.resume_from_crash': false,
  'browser.shell.checkDefaultBrowser': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'extensions.systemAddon.update.enabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'services.settings.server': 'http://127.0.0.1:1/',
  // After a few kills Firefox would start in safe mode.
  'toolkit.startup.max_resumed_crashes': -1,
  'toolkit.telemetry.enabled': false,
};

/** Starts the browser; `report(level, text)` gets every console line. Resolves with {child, newPage, end}. */
export async function startFirefox({ binary, profile, report, preferences = {}, args = [] }) {
  fs.mkdirSync(profile, { recursive: true });
  const lines = Object.entries({ ...PREFERENCES, ...preferences }).map(
    ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});`,
  );
  fs.writeFileSync(path.join(profile, 'user.js'), lines.join('\n') + '\n');
  copyStartupCache(profile);
  // Its own home: the user's configuration is neither read nor changed.
  const env = { ...process.env, HOME: profile, MOZ_CRASHREPORTER_DISABLE: '1' };
  // The sandbox does not start for root in a container.
  if (process.getuid?.() === 0) env.MOZ_DISABLE_CONTENT_SANDBOX = '1';
  const child = spawn(
    binary,
    ['--headless', '--no-remote', '--profile', profile, '--remote-debugging-port', '0', '--remote-allow-system-access', ...args,
      'about:blank'],
    { detached: true, stdio: ['ignore', 'pipe', 'pipe'], env },
  );
  let session;
  try {
    const endpoint = await withTimeout(findEndpoint(child), launchTimeout, 'Firefox does not start');
    session = new Session(`${endpoint}/session`);
    await session.begin();
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  session.onEvent = (method, params) => {
    if (method !== 'log.entryAdded') return;
    const uncaught = params.type === 'javascript' && params.level === 'error';
    const stack = params.stackTrace?.callFrames?.map((f) => `\n    at ${f.functionName}@${f.url}:${f.lineNumber}`);
    report(uncaught ? 'uncaught' : params.level, params.text + (uncaught ? (stack ?? []).join('') : ''));
  };

  let first = true;
  return {
    child,
    async newPage() {
      let context;
      if (first) {
        context = (await session.send('browsingContext.getTree')).contexts[0].context;
        first = false;
      } else {
        ({ context } = await session.send('browsingContext.create', { type: 'tab' }));
      }
      return new Page(session, context);
    },
    /** Pages with a storage of their own: {newPage, remove}. */
    async newContext() {
      const { userContext } = await session.send('browser.createUserContext');
      return {
        async newPage() {
          return new Page(session, (await session.send('browsingContext.create', { type: 'tab', userContext })).context);
        },
        remove: () => session.send('browser.removeUserContext', { userContext }),
      };
    },
    end: () => session.send('browser.close'),
    /** Runs the task while nobody can ask the browser anything. */
    async unobserved(task) {
      await session.end();
      try {
        return await task();
      } finally {
        await session.begin();
      }
    },
  };
}

// What Firefox has compiled of its own code, from a profile that was used before: a new one starts in two thirds of the time with it.
function copyStartupCache(profile) {
  const from = process.env.SABFS_FIREFOX_STARTUP_CACHE;
  const to = path.join(profile, 'startupCache');
  if (from && fs.existsSync(from) && !fs.existsSync(to)) fs.cpSync(from, to, { recursive: true });
}

// Firefox says on its error output where it listens.
function findEndpoint(child) {
  return new Promise((resolve, reject) => {
    let output = '';
    const look = (data) => {
      output = (output + data).slice(-8000);
      const match = /WebDriver BiDi listening on (ws:\S+)/.exec(output);
      if (match) resolve(match[1]);
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`Firefox ended with code ${code}; it says:\n${output}`)));
  });
}

class Session {
  #next = 1;
  #waiting = new Map();
  onEvent = () => {};

  constructor(url) {
    this.url = url;
  }

  async begin() {
    // Node's own, so that the tests need no package.
    const socket = new WebSocket(this.url);
    await new Promise((resolve, reject) => {
      socket.onopen = resolve;
      socket.onerror = (event) => reject(new Error(`${this.url}: ${event.message || 'no connection'}`));
    });
    this.socket = socket;
    socket.onmessage = (event) => this.#receive(JSON.parse(event.data));
    socket.onclose = () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the browser ended'));
      this.#waiting.clear();
    };
    await this.send('session.new', { capabilities: {} });
    await this.send('session.subscribe', { events: ['log.entryAdded'] });
    await this.#forgetWorkers();
  }

  // While a session lists a page's workers, one `new Worker()` in 70 of those in a worker never returns (Firefox 153; without a
  // session none of thousands). Nobody here asks for the list.
  async #forgetWorkers() {
    const { contexts: [window] } = await this.send('browsingContext.getTree', { 'moz:scope': 'chrome' });
    const module = 'chrome://remote/content/shared/js-process-actors/WebDriverWorkerListenerActor.sys.mjs';
    // What fails in a Firefox without this module, which has no such list either, is the script alone.
    await this.send('script.evaluate', {
      target: { context: window.context },
      expression: `ChromeUtils.importESModule('${module}').unregisterWebDriverWorkerListenerActor()`,
      awaitPromise: false,
    });
  }

  async end() {
    await this.send('session.end');
    this.socket.close();
  }

  send(method, params = {}) {
    if (this.socket.readyState !== WebSocket.OPEN) return Promise.reject(new Error('the browser ended'));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { method, resolve, reject });
      this.socket.send(JSON.stringify({ id, method, params }));
    });
  }

  #receive(message) {
    if (message.type === 'event') return this.onEvent(message.method, message.params);
    const request = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.type === 'error') {
      request?.reject(new Error(`${request.method}: ${message.error}: ${message.message}`));
    } else {
      request?.resolve(message.result);
    }
  }
}

class Page {
  constructor(session, context) {
    Object.assign(this, { session, context });
  }

  async goto(url, timeout) {
    const load = this.session.send('browsingContext.navigate', { context: this.context, url, wait: 'complete' });
    await withTimeout(load, timeout, `${url} does not load`);
  }

  async evaluateText(expression) {
    const answer = await this.session.send('script.evaluate', {
      expression,
      target: { context: this.context },
      awaitPromise: true,
      userActivation: true,
    });
    if (answer.type === 'exception') {
      const { text, stackTrace } = answer.exceptionDetails;
      const frames = stackTrace?.callFrames?.map((f) => `\n    at ${f.functionName}@${f.url}:${f.lineNumber}`) ?? [];
      throw new Error(text + frames.join(''));
    }
    return answer.result.value;
  }

  async screenshot() {
    const { data } = await this.session.send('browsingContext.captureScreenshot', { context: this.context });
    return Buffer.from(data, 'base64');
  }

  close() {
    return this.session.send('browsingContext.close', { context: this.context });
  }
}
