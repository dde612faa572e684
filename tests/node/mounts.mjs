// What the tests of mounting in Node share.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { runInNode } from '../harness/run-program.mjs';

export const root = path.resolve(import.meta.dirname, '../..');
export const CAPACITY = 64 << 20;

/** A new folder that goes with the test. */
export function temporary(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-mount-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export const run = (name, sabfs, args = ['/opfs'], options = {}) =>
  runInNode(name, { module: { sabfs: { capacity: CAPACITY, ...sabfs } }, args, ...options });
export const ok = (result) => assert.deepEqual({ code: result.code, stderr: result.stderr }, { code: 0, stderr: '' }, result.stdout);

/** The tests of every way to mount, in one version of Node; `node` is its command, undefined if there is none. */
export function testMounts(version, node) {
  const skip = node ? false : `there is no Node ${version}`;
  for (const program of ['suite-mt', 'suite-st']) {
    for (const access of ['two-memory', 'one-memory', 'javascript', 'own']) {
      for (const durability of ['memory', 'strict', 'relaxed']) {
        // Node 20 has one memory per module; the files of a program's own store belong to one thread.
        if (version === '20' && access === 'two-memory') continue;
        if (program === 'suite-mt' && access === 'own' && durability !== 'memory') continue;
        // The threads need memory beside a store of the program's own.
        const capacity = access === 'own' ? 16 << 20 : CAPACITY;
        test(`Node ${version}, ${program}: every operation by ${access}, ${durability}`, { skip }, async (t) => {
          ok(await run(program, { access, durability, capacity, folder: temporary(t) }, ['/opfs'], { node }));
        });
      }
    }
    test(`Node ${version}, ${program}: a full volume recovers`, { skip }, async (t) => {
      for (const durability of ['memory', 'strict']) {
        const sabfs = { capacity: 4 << 20, durability, folder: temporary(t) };
        ok(await run(program, sabfs, ['/opfs', 'full'], { node }));
      }
    });
  }

  test(`Node ${version}: what one process leaves the next one finds`, { skip }, async (t) => {
    const folder = temporary(t);
    ok(await run('suite-mt', { folder, durability: 'relaxed' }, ['/opfs', 'leave'], { node }));
    for (const access of ['one-memory', 'javascript', 'own']) {
      ok(await run('suite-st', { folder, access }, ['/opfs', 'find'], { node }));
    }
    ok(await run('suite-mt', { folder }, ['/opfs', 'find'], { node }));
    assert.deepEqual(fs.readdirSync(path.join(folder, 'default')).sort(), ['image', 'journal']);
  });

  test(`Node ${version}: paths while mounts come and go`, { skip }, async (t) => {
    ok(await run('mounts-st', { folder: temporary(t), durability: 'memory' }, ['/opfs'], { node }));
  });

  test(`Node ${version}: a process ends when its files are closed, and not before`, { skip }, async (t) => {
    const keeper = path.join(root, 'tests/programs/slow_keeper.js');
    for (const program of ['suite-mt', 'suite-st']) {
      const folder = temporary(t);
      ok(await run(program, { folder, keeper }, ['/opfs', 'leave'], { node }));
      assert.deepEqual(fs.readdirSync(path.join(folder, 'default')).sort(), ['image', 'journal']);
    }
  });

  test(`Node ${version}: mounting from C, on the main thread and on others`, { skip }, async (t) => {
    const cwd = temporary(t);
    for (const program of ['mount-mt', 'mount-main', 'mount-st']) {
      for (const way of ['main', 'thread', 'threads', 'backend']) {
        if (program === 'mount-st' && way.startsWith('thread')) continue;
        for (const durability of ['1', '3']) {
          const args = [way, `${program}-${way}`, durability];
          const result = await runInNode(program, { node, args, prepare: preparation(cwd) });
          assert.deepEqual(result, { code: 0, stdout: `mounted by ${way}: 0 failures\n`, stderr: '' }, program + way);
        }
      }
    }
  });
}

// A module that sets Module.sabfs when the start has found none: then only the calls in C mount.
function preparation(folder) {
  const file = path.join(folder, 'prepare.mjs');
  const settings = JSON.stringify({ folder });
  // preRun functions of the page's run before those of the library.
  fs.writeFileSync(file, `export default (Module) => {
    Object.defineProperty(Module, 'sabfs', { get: () => Module.calledRun ? ${settings} : undefined });
    Module.onRuntimeInitialized = () => { Module.calledRun = true; };
  };\n`);
  return file;
}
