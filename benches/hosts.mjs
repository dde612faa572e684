// Where programs are measured: a page of a browser, or Node with a process for each.
//
//   start(name, {script, args, module})    a program that waits for commands (bench.c)
//   measure(name, step, threads, batch_ms) one batch; resolves with the time of one operation in ns
import { fork } from 'node:child_process';
import path from 'node:path';
import { launch } from '../tests/harness/browser.mjs';
import { serve } from '../tests/harness/server.mjs';

const root = path.resolve(import.meta.dirname, '..');
const TIMEOUT = 180_000;

/** engine: node, chromium or firefox. */
export const openHost = (engine) => (engine === 'node' ? nodeHost() : browserHost(engine));

async function browserHost(engine) {
  const server = await serve({ roots: [root] });
  const browser = await launch({ browser: engine });
  await browser.goto(`${server.url}/benches/bench.html`);
  const run = (call) =>
    browser.evaluate(call, { timeout: TIMEOUT }).catch((error) => {
      throw new Error(`${engine}: ${error.message}\n${browser.console.slice(-20).join('\n')}`);
    });
  return {
    start: (name, { script, args, module }) => run(`startPeer(${JSON.stringify({ name, script: `/${script}`, args, module })})`),
    measure: (...request) => run(`measure(${request.map((word) => JSON.stringify(word)).join()})`),
    async close() {
      await browser.close();
      await server.close();
    },
  };
}

function nodeHost() {
  const children = new Map();
  // A program has one command at a time, and answers each once.
  const answer = (child) =>
    new Promise((resolve, reject) => {
      child.once('message', ({ error, result }) => (error ? reject(new Error(`node: ${error}`)) : resolve(result)));
      child.once('exit', (code) => reject(new Error(`node: a program ended with code ${code}`)));
    }).finally(() => child.removeAllListeners());
  return {
    async start(name, { script, args, module }) {
      const child = fork(path.join(import.meta.dirname, 'node-host.cjs'), [path.join(root, script), JSON.stringify({ args, module })], {
        execPath: process.env.SABFS_NODE,
      });
      children.set(name, child);
      return (await answer(child)).split(' ');
    },
    measure(name, step, threads, batch_ms) {
      const child = children.get(name);
      child.send({ step, threads, batch_ms });
      return answer(child);
    },
    close() {
      for (const child of children.values()) child.kill();
    },
  };
}
