// Where the real programs of dist/apps run: on this machine, and on a volume at /opfs in Node or in the browser that
// SABFS_BROWSER names. Each run is a process, or a page, of its own, which finds what the one before has left.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { runInBrowser, runInNode } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { unavailable } from '../harness/browser.mjs';
import { borrow } from '../harness/shared-browser.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const browser = process.env.SABFS_BROWSER;

/** With threads and without: what the programs' names end with. The same in a browser takes minutes. */
export const KINDS = browser && !process.env.SABFS_LONG ? ['mt'] : ['mt', 'st'];
export const where = browser ?? 'Node';
export const sources = path.join(root, 'dist/apps/sources');

/** A reason to skip the tests of a program, or false. */
export function skip(app) {
  if (process.platform !== 'linux') return 'only Linux can be compared with';
  if (!fs.existsSync(path.join(root, `dist/apps/${app}-mt.js`))) return `${app} is not built (scripts/build apps)`;
  return browser ? unavailable() : false;
}

function temporaryFolder(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-apps-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** This machine: run(app, args, options) gives {code, stdout, stderr}. The programs start in `folder`, which is empty. */
export function onHost(t) {
  const folder = temporaryFolder(t);
  const run = async (app, args, { timeout = 60_000 } = {}) => {
    process.umask(0o022);
    const { error, status, signal, stdout, stderr } = spawnSync(path.join(root, 'dist/apps/host', app), args, {
      argv0: app, cwd: folder, encoding: 'utf8', maxBuffer: 64 << 20, timeout, stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', TZ: 'UTC' },
    });
    if (error) throw error;
    return { code: status ?? signal, stdout, stderr };
  };
  return { folder, run };
}

/** A volume, empty at first: run(app, args, options) as above. kind: mt or st; capacity: of the volume, in bytes. */
export async function onVolume(t, kind, { capacity = 256 << 20 } = {}) {
  if (!browser) {
    const sabfs = { folder: temporaryFolder(t), capacity };
    const settings = { env: { TZ: 'UTC' }, cwd: path.join(root, 'dist/apps') };
    const run = (app, args, options) =>
      runInNode(`apps/${app}-${kind}`, { args, ...settings, module: { sabfs, thisProgram: app }, ...options });
    return { run };
  }
  const page = await borrow(t);
  const server = await serve({ roots: [root] });
  t.after(() => server.close());
  // A program without threads waits, which a page's main thread must not.
  const worker = kind === 'st';
  const settings = { worker, prepare: '/tests/apps/locate.mjs' };
  const run = (app, args, options) =>
    runInBrowser(page, server, `apps/${app}-${kind}`, { args, ...settings, module: { sabfs: { capacity }, thisProgram: app }, ...options });
  return { run };
}

/**
 * Both: same(app, args, options) runs a program in both places, and gives what it has answered in both. sorted: in
 * whatever order its lines come, as of those that list a folder.
 */
export async function both(t, kind, options) {
  const host = onHost(t);
  const volume = await onVolume(t, kind, options);
  const same = async (app, args, { sorted, ...settings } = {}) => {
    const order = (text) => (sorted ? text.split('\n').sort().join('\n') : text);
    const told = ({ code, stdout, stderr }) => ({ code, stdout: order(stdout), stderr: order(stderr) });
    const expected = told(await host.run(app, args, settings));
    assert.deepEqual(told(await volume.run(app, args, settings)), expected);
    return expected;
  };
  return { host, volume, same };
}
