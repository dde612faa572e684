// The demo page: the shell answers, the files and the volume show, a crash loses nothing, and what is missing is said.
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { unavailable } from '../harness/browser.mjs';
import { serve } from '../harness/server.mjs';
import { borrow } from '../harness/shared-browser.mjs';

const skip = unavailable();
const root = path.resolve(import.meta.dirname, '../..');
// As dist/demo, which scripts/demo makes of them.
const roots = [path.join(root, 'demo'), path.join(root, 'dist/programs')];

let server;
before(async () => {
  server = await serve({ roots });
});
after(() => server.close());

// Until the expression is true in the page; a page that is being reloaded has no answer for a moment.
async function until(page, expression, timeout = 30_000) {
  const end = Date.now() + timeout;
  for (;;) {
    const answer = await page.evaluate(expression, { timeout: 5000 }).catch((error) => ({ error }));
    if (answer && !answer.error) return answer;
    if (Date.now() > end) {
      const shown = await page.evaluate('document.body?.innerText').catch((error) => error.message);
      throw new Error(`not true in ${timeout} ms: ${expression}; the page shows:\n${shown}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const text = (selector) => `document.querySelector(${JSON.stringify(selector)})?.textContent`;
const type = (line) => `(() => {
  const input = document.querySelector('textarea');
  input.value = ${JSON.stringify(line)};
  input.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', bubbles: true, cancelable: true }));
})()`;
const idle = `!document.querySelector('#terminal').classList.contains('busy')`;
const logHas = (words) => `${text('#terminal .log')}.includes(${JSON.stringify(words)})`;

test('the demo: the shell, the files, the volume, and a crash', { skip }, async (t) => {
  const browser = await borrow(t);
  await browser.goto(`${server.url}/index.html`);
  await until(browser, `${text('#state')} === 'running' && ${idle}`);
  assert.match(await browser.evaluate(text('#terminal .log')), /is new/);

  await browser.evaluate(type("CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 'one'), (2, NULL);"));
  await browser.evaluate(type('SELECT * FROM t'));
  await browser.evaluate(type('ORDER BY a DESC;'));
  await until(browser, `document.querySelectorAll('#terminal tbody tr').length === 2`);
  assert.deepEqual(
    await browser.evaluate(`[...document.querySelectorAll('#terminal td')].map((cell) => cell.textContent)`),
    ['2', 'null', '1', 'one'],
  );
  await browser.evaluate(type('SELEC;'));
  await until(browser, `${text('#terminal .error')} === 'near "SELEC": syntax error'`);
  await until(browser, `[...document.querySelectorAll('#tree .name')].some((name) => name.textContent === 'demo.db')`);
  await until(browser, `${text('#durable')} === 'durable' && /of 256 MiB/.test(${text('#volume')})`);

  await browser.evaluate(`document.querySelector('#crash').click()`);
  // The page says how it went when it has reloaded and looked.
  await until(browser, `/[✓✗]/.test(${text('#terminal .log')})`);
  const verdict = await browser.evaluate(`${text('#terminal .log')}.match(/[✓✗].*sound/)?.[0]`);
  assert.match(verdict ?? '', /^✓/);
  console.log(verdict);
  await browser.evaluate(type('SELECT count(*) AS n FROM t;'));
  await until(browser, logHas('n21 row'));

  // The volume belongs to the first tab as long as that is there.
  const second = await browser.newPage();
  await second.goto(`${server.url}/index.html`);
  await until(second, `${text('#problem h2')} === 'The volume is open in another tab'`);
  await second.close();
});

test('the demo says that isolation is missing', { skip }, async (t) => {
  const plain = await serve({ roots, isolate: false });
  t.after(() => plain.close());
  const browser = await borrow(t);
  await browser.goto(`${plain.url}/index.html`);
  await until(browser, `${text('#problem h2')} === 'The server does not isolate this page'`);
});
