// For tests that need no browser of their own: those of one file share one, which takes one or two seconds to start. Each has pages
// of its own, and the storage of an origin where nothing is yet: in Firefox that of a user context, in Chromium, where such a
// context has it in memory only, what the test leaves is cleared.
import fs from 'node:fs';
import { after } from 'node:test';
import { launch } from './browser.mjs';

let shared = null;
after(close);

async function close() {
  const browser = await shared?.catch(() => null);
  await browser?.close();
  if (browser) await fs.promises.rm(browser.profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}

/** A browser as launch() gives one, to all appearances new: with no storage, and one empty page. Ends with the test. */
export async function borrow(t) {
  // A browser that a test has brought down is not that of the next one.
  const last = await shared?.catch(() => null);
  if (!last?.isRunning()) {
    await close();
    shared = launch();
  }
  const context = await (await shared).newContext();
  t.after(async () => {
    if (!t.passed && context.console.length) console.error(`--- the console:\n${context.console.slice(-200).join('\n')}\n---`);
    await context.remove();
  });
  return context;
}
