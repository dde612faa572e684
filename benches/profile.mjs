// Where the time of one case goes, function by function: Chromium's profiler on the threads of the program.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startChromium } from '../tests/harness/chromium.mjs';
import { killFamily } from '../tests/harness/process-tree.mjs';
import { serve } from '../tests/harness/server.mjs';
import { PEERS, build } from './peers.mjs';

const root = path.resolve(import.meta.dirname, '..');
const NAMES = 1000;
const BATCH_MS = 100;
const WARM_MS = 1_000;
const PROFILE_MS = 3_000;
const INTERVAL_US = 100;
const TIMEOUT = 60_000;
const LINES = 30;

/** Prints the functions that a case spends its time in. */
export async function profile(peer, step) {
  if (!process.env.SABFS_CHROMIUM) throw new Error('there is no chromium on this machine');
  const script = build(peer, { names: true });
  const server = await serve({ roots: [root] });
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-profile-'));
  const driver = await startChromium({ binary: process.env.SABFS_CHROMIUM, profile: folder, report: () => {} });
  try {
    const page = await driver.newPage();
    const sessions = workersOf(page);
    await page.goto(`${server.url}/benches/bench.html`, TIMEOUT);
    const call = async (text) => JSON.parse((await page.evaluateText(`(async () => JSON.stringify(await ${text}))()`)) ?? 'null');
    const { mount, module } = PEERS[peer];
    const program = { name: peer, script: `/${script}`, args: [mount, String(NAMES)], module };
    const steps = await call(`startPeer(${JSON.stringify(program)})`);
    if (!steps.includes(step)) throw new Error(`there is no case ${step}; the cases are ${steps.join(', ')}`);
    const run = async (time_ms) => {
      let best = Infinity;
      for (const end = Date.now() + time_ms; Date.now() < end; ) {
        best = Math.min(best, await call(`measure(${JSON.stringify(peer)}, ${JSON.stringify(step)}, 1, ${BATCH_MS})`));
      }
      return best;
    };
    const ns = await run(WARM_MS);
    // Not the page's own thread: it only waits.
    const all = (method, params) =>
      Promise.all([...sessions].map((session) => page.connection.send(method, params, session).catch(() => null)));
    await all('Profiler.enable');
    await all('Profiler.setSamplingInterval', { interval: INTERVAL_US });
    await all('Profiler.start');
    await run(PROFILE_MS);
    const profiles = (await all('Profiler.stop')).filter(Boolean).map((answer) => answer.profile);
    print(peer, step, ns, profiles);
  } finally {
    await killFamily(driver.child.pid, folder);
    await server.close();
    fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

// The page listens to each of its workers, under the number of a session; these numbers are what is needed here.
function workersOf(page) {
  const sessions = new Set();
  const { connection } = page;
  const listen = connection.on.bind(connection);
  connection.on = (session, listener) => {
    sessions.add(session);
    listen(session, listener);
  };
  return sessions;
}

// What a function is called, without the parameters of C++ and the hash of Rust; of JavaScript, with its place.
function nameOf({ functionName, url, lineNumber }) {
  const name = functionName || '(anonymous)';
  if (name.startsWith('(')) return name;
  if (/^wasm:|\.wasm$/.test(url)) return name.replace(/::h[0-9a-f]{16}$/, '').replace(/(?<=\w)\([^)].*$/, '()');
  return `${name} (${path.basename(url)}:${lineNumber + 1})`;
}

function print(peer, step, ns, profiles) {
  const self = new Map();
  const whole = new Map();
  let total = 0;
  const add = (map, key) => map.set(key, (map.get(key) ?? 0) + 1);
  for (const { nodes, samples } of profiles) {
    const byId = new Map(nodes.map((node) => [node.id, node]));
    const parents = new Map(nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node.id])));
    for (const sample of samples) {
      const stack = [];
      for (let id = sample; id !== undefined; id = parents.get(id)) stack.push(nameOf(byId.get(id).callFrame));
      // Only what the measured loop calls: not the preparations, nor what other threads do meanwhile.
      const loop = stack.findIndex((name) => name.startsWith('run_'));
      if (loop < 0 || stack[loop + 1]?.startsWith('prepare_')) continue;
      total++;
      add(self, stack[0]);
      for (const name of new Set(stack.slice(0, loop + 1))) add(whole, name);
    }
  }
  if (total === 0) throw new Error(`no sample of ${step}`);
  console.log(`\n${peer}: ${step}, ${ns.toFixed(0)} ns without the profiler, ${total} samples\n`);
  console.log('    self     self ns  with callees');
  const percent = (count) => `${((100 * count) / total).toFixed(1)} %`.padStart(7);
  const lines = [...whole].sort((a, b) => (self.get(b[0]) ?? 0) - (self.get(a[0]) ?? 0) || b[1] - a[1]);
  for (const [name, count] of lines.slice(0, LINES)) {
    const own = self.get(name) ?? 0;
    const share = ((own / total) * ns).toFixed(0).padStart(8);
    console.log(`${percent(own)} ${share} ns  ${percent(count)}       ${name}`);
  }
}
