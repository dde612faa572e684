// Runs all programs in one page of a browser and measures them in turn: A B C D, A B C D ... What disturbs the machine
// for a while disturbs all of them, and the best round of each is what counts.
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { launch } from '../tests/harness/browser.mjs';
import { serve } from '../tests/harness/server.mjs';
import { PEERS } from './peers.mjs';

const root = path.resolve(import.meta.dirname, '..');
// A thousand files in OPFS, which are made before the first batch of a case, take Firefox ten seconds.
const BATCH_TIMEOUT = 180_000;
// Cases that leave each other their files; they run one after the other in each round.
const CHAIN = ['create-1k', 'rename', 'unlink'];

// Cases that say something beside another number of threads only: scaling.mjs.
const SCALING = ['pread-4k-one', 'metadata', 'compute'];

/** What the browser calls itself. */
export function versionOf(engine) {
  const binary = process.env[`SABFS_${engine.toUpperCase()}`];
  const version = execFileSync(binary, ['--version'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return version.trim().replace(/ built on.*/, '');
}

/** Resolves with [{case, threads, rounds: {peer: [ns…]}}]. */
export async function measureEngine(engine, plan) {
  const server = await serve({ roots: [root] });
  const browser = await launch({ browser: engine });
  try {
    return await measureAll(browser, server, plan);
  } catch (error) {
    throw new Error(`${engine}: ${error.message}\n${browser.console.slice(-20).join('\n')}`);
  } finally {
    await browser.close();
    await server.close();
  }
}

async function measureAll(browser, server, plan) {
  await browser.goto(`${server.url}/benches/bench.html`);
  let steps;
  for (const [name, script] of Object.entries(plan.scripts)) {
    const { mount, module } = PEERS[name];
    const program = { name, script: `/${script}`, args: [mount, String(plan.names)], module };
    steps = await browser.evaluate(`startPeer(${JSON.stringify(program)})`, { timeout: BATCH_TIMEOUT });
  }
  const unknown = plan.cases?.find((name) => !steps.includes(name));
  if (unknown) throw new Error(`there is no case ${unknown}; the cases are ${steps.join(', ')}`);
  const wanted = steps.filter((step) => (plan.cases ? plan.cases.includes(step) : !SCALING.includes(step)));
  const groups = wanted.filter((step) => !CHAIN.includes(step)).map((step) => [step]);
  groups.push(CHAIN.filter((step) => wanted.includes(step)));

  const results = [];
  for (const threads of plan.threads) {
    for (const group of groups) {
      results.push(...(await measureGroup(browser, plan, group, threads)));
    }
  }
  // In the order of the program's list, not of the groups.
  const place = (result) => result.threads * steps.length + steps.indexOf(result.case);
  return results.sort((a, b) => place(a) - place(b));
}

async function measureGroup(browser, plan, group, threads) {
  const peers = Object.keys(plan.scripts);
  const results = group.map((step) => ({
    case: step,
    threads,
    rounds: Object.fromEntries(peers.map((name) => [name, []])),
  }));
  const spent_ms = Object.fromEntries(peers.map((name) => [name, 0]));
  for (let round = 0; round < plan.rounds; round++) {
    for (const name of peers) {
      if (spent_ms[name] > plan.budget_ms) continue;
      const begin = performance.now();
      for (const result of results) {
        const call = `measure(${JSON.stringify(name)}, ${JSON.stringify(result.case)}, ${threads}, ${plan.batch_ms})`;
        result.rounds[name].push(await browser.evaluate(call, { timeout: BATCH_TIMEOUT }));
      }
      // A first round also finds out how many operations fill a batch, unless it goes over all names.
      if (round > 0 || CHAIN.includes(group[0])) spent_ms[name] += performance.now() - begin;
      // What a file system does behind its calls should not fall into the next one's batch.
      await sleep(plan.settle_ms);
    }
  }
  process.stderr.write('.');
  return results;
}
