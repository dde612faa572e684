// Three programs and the page live together in one store: SQLite, an unpacker of archives, a worker, and the page by promises.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { launch, unavailable } from '../harness/browser.mjs';
import { serve } from '../harness/server.mjs';
import { sendVolume } from '../kill/engines.mjs';
import { randomNumbers } from '../kill/random.mjs';
import { assertSound, chooseSeed, temporaryFolder } from '../kill/rounds.mjs';
import { verify } from '../programs/together_actor.mjs';
import { liveTogether, SUM } from '../programs/together_host.mjs';
import { packMembers } from '../programs/tree_pack.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const FOR_MS = process.env.SABFS_LONG ? 60_000 : 8000;
const CAPACITY = 64 << 20, FOLDERS = 12, FILES = 90;
const MODES = ['DELETE', 'TRUNCATE', 'PERSIST'];
const sha256 = (data) => createHash('sha256').update(data).digest('hex');

/** A tree that nobody has seen before: {archive, members}. */
function inventArchive(random) {
  const below = (limit) => Math.floor(random() * limit), members = [], folders = [''];
  const sizes = [0, 100, 5000, 5000, 20_000, 120_000];
  for (let index = 0; index < FOLDERS; index++) {
    const folder = `${folders[below(folders.length)]}folder ${index}/`;
    folders.push(folder);
    members.push({ path: folder.slice(0, -1), type: 'd', mode: 0o755, data: Buffer.alloc(0) });
  }
  for (let index = 0; index < FILES; index++) {
    const name = `${folders[below(folders.length)]}${'file '.repeat(1 + below(20))}${index}`;
    const size = below(sizes[below(sizes.length)] + 1), bytes = Buffer.from({ length: size }, () => below(256));
    if (below(8)) members.push({ path: name, type: 'f', mode: below(2) ? 0o644 : 0o400, data: bytes });
    else members.push({ path: name, type: 'l', mode: 0o777, data: Buffer.from(`nowhere/${index}`) });
  }
  const { archive } = packMembers(members);
  const shown = members.map(({ path, type, data }) => ({ path, type, sha256: sha256(data), target: type == 'l' ? String(data) : '' }));
  return { archive, members: shown };
}

/** Takes a volume's files out with the native tool, and compares them with what everybody said to be there. */
async function assertKept(folder, { known, unpacked }, members) {
  const target = path.join(folder, 'exported');
  execFileSync(path.join(root, 'target/release/sabfs'), ['export', '--quiet', folder, target]);
  const inside = (name) => path.join(target, name);
  const host = { readdir: (name) => fs.readdirSync(inside(name)), readFile: (name) => fs.readFileSync(inside(name)) };
  for (const [home, files] of Object.entries(known)) await verify(host, home, files);
  for (const name of unpacked) {
    for (const { path, type, target, sha256: wanted } of members) {
      const file = inside(`${name}/${path}`);
      if (type == 'f') assert.equal(sha256(fs.readFileSync(file)), wanted, file);
      else if (type == 'l') assert.equal(fs.readlinkSync(file), target);
      else assert.ok(fs.statSync(file).isDirectory());
    }
  }
}

async function judge(name, seed, folder, found, members) {
  const { accounts, acknowledged, archives, unpacked, left, counted, steps, events, overflows } = found;
  console.log(`${name} (SABFS_SEED=${seed}): ${acknowledged} transfers, ${archives} archives of ${members.length} members, steps: ` +
    `page ${steps.page}, worker ${steps.worker}; counted under a lock: page ${counted.page}, worker ${counted.worker}; events: page ${events.page}, worker ${events.worker} (${overflows} overflows)`);
  assert.deepEqual(accounts, { isWhole: 1, sum: SUM, transfers: acknowledged, wrong: 0 });
  const counts = [acknowledged, archives, unpacked.length, steps.page, steps.worker, counted.page, counted.worker, events.page, events.worker];
  for (const count of counts) assert.ok(count > 0, `${counts}`);
  assert.deepEqual(left, { clients: 1, gate: 0, lockGuard: 0, locks: 0, waiting: 0 });
  // No block is anybody's that no file has.
  assertSound(folder, `seed ${seed}`);
  await assertKept(folder, found, members);
}

for (const durability of ['strict', 'relaxed']) {
  test(`Node, ${durability}: three programs and the main thread live together`, async (t) => {
    const folder = temporaryFolder(t), seed = chooseSeed(), random = randomNumbers(seed);
    const { SABFS } = await import('../../dist/js/index.js');
    const { archive, members } = inventArchive(random);
    const built = (name) => pathToFileURL(path.join(root, 'dist/programs', name)).href;
    const script = (name) => () => new Worker(path.join(root, 'tests/programs', name));
    const found = await liveTogether({
      SABFS, options: { folder, capacity: CAPACITY, durability },
      makeProgram: script('lock_worker.mjs'), makeWorker: script('together_worker.mjs'),
      programs: { sqlite: built('sqlite-share-esm.mjs'), unpack: built('together-unpack-esm.mjs') },
      archive, members, seed, journalMode: MODES[Math.floor(random() * MODES.length)], forMs: FOR_MS,
    });
    await judge(`Node, ${durability}`, seed, path.join(folder, 'default'), found, members);
  });
}

// In the page.
async function live(given) {
  const { SABFS } = await import('/dist/js/index.js');
  const { liveTogether } = await import('/tests/programs/together_host.mjs');
  const script = (name) => () => new Worker(`/tests/programs/${name}`, { type: 'module' });
  return liveTogether({
    SABFS, makeProgram: script('lock_worker.mjs'), makeWorker: script('together_worker.mjs'),
    programs: { sqlite: '/dist/programs/sqlite-share-esm.mjs', unpack: '/dist/programs/together-unpack-esm.mjs' },
    archive: new Uint8Array(await (await fetch('/archive.tar')).arrayBuffer()), ...given,
  });
}

for (const name of ['chromium', 'firefox']) {
  test(`${name}: three programs and the page live together`, { skip: unavailable(name) }, async (t) => {
    const folder = temporaryFolder(t), seed = chooseSeed(), random = randomNumbers(seed);
    const { archive, members } = inventArchive(random);
    let go, tell;
    const time = new Promise((resolve) => { go = resolve; });
    const told = new Promise((resolve) => { tell = resolve; });
    const server = await serve({
      roots: [root],
      routes: { '/archive.tar': { type: 'application/x-tar', body: archive } },
      posts: {
        '/volume': (body, { search }) => fs.writeFileSync(path.join(folder, search.slice(1)), body),
        '/go': () => time,
        '/found': (body) => tell(JSON.parse(body)),
      },
    });
    t.after(() => server.close());
    const browser = await launch({ t, browser: name });
    await browser.goto(`${server.url}/blank.html`);
    const given = {
      options: { capacity: CAPACITY }, members, seed, journalMode: MODES[Math.floor(random() * MODES.length)], forMs: FOR_MS,
    };
    await browser.evaluate(`void (async () => {
      await fetch('/go', { method: 'POST' });
      const found = await (${live})(${JSON.stringify(given)}).catch((error) => ({ error: String(error?.stack ?? error) }));
      if (!found.error) await (${sendVolume})('default');
      await fetch('/found', { method: 'POST', body: JSON.stringify(found) });
    })()`);
    const found = await browser.unobserved(() => {
      go();
      return told;
    });
    assert.equal(found.error, undefined, `seed ${seed}`);
    await judge(name, seed, folder, found, members);
  });
}
