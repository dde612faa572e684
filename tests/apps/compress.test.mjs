// The tests that zlib and bzip2 bring with them, with files at /opfs.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { both, KINDS, skip, sources, where } from './places.mjs';

const QUIET = { code: 0, stdout: '', stderr: '' };

// The same text three times.
const TEXTS = `
  local seed, pieces = 3, {}
  for i = 1, 60000 do
    seed = (seed * 1103515245 + 12345) % 2147483648
    pieces[i] = seed // 65536 % 100 .. (i % 10 == 0 and '\\n' or ' ')
  end
  for _, name in ipairs { 'fast', 'best', 'runs' } do
    local file <close> = assert(io.open(name, 'w'))
    file:write(table.concat(pieces))
  end`;

for (const kind of KINDS) {
  test(`zlib's own tests (${kind}) in ${where}`, { skip: skip('minigzip') }, async (t) => {
    const { host, volume, same } = await both(t, kind);

    await t.test('example', async () => {
      // Its first line has the sizes of the machine's types.
      const told = ({ code, stdout, stderr }) => ({ code, stdout: stdout.replace(/^zlib version .*\n/, ''), stderr });
      const expected = await host.run('zlib-example', ['example.gz']);
      assert.equal(expected.code, 0);
      assert.match(expected.stdout, /gzread\(\): hello, hello!\ngzgets\(\) after gzseek:  hello!\n/);
      assert.deepEqual(told(await volume.run('zlib-example', ['example.gz'])), told(expected));
    });

    await t.test('infcover', async () => {
      const { code, stderr } = await volume.run('infcover', []);
      assert.equal(code, 0, stderr);
    });

    await t.test('minigzip: there and back', async () => {
      assert.deepEqual(await same('lua', ['-e', TEXTS]), QUIET);
      const { stdout: before } = await same('toybox', ['sha256sum', 'fast', 'best', 'runs']);
      assert.deepEqual(await same('minigzip', ['-1', 'fast']), QUIET);
      assert.deepEqual(await same('minigzip', ['-9', 'best']), QUIET);
      assert.deepEqual(await same('minigzip', ['-r', 'runs']), QUIET);
      assert.equal((await same('toybox', ['sha256sum', 'fast.gz', 'best.gz', 'runs.gz', 'example.gz'])).code, 0);
      assert.deepEqual(await same('minigzip', ['-d', 'fast.gz', 'best.gz', 'runs.gz']), QUIET);
      assert.deepEqual(await same('toybox', ['sha256sum', 'fast', 'best', 'runs']), { ...QUIET, stdout: before });
    });

    await t.test('minigzip refuses what is not there, and what is broken', async () => {
      assert.equal((await same('minigzip', ['nowhere'])).code, 1);
      await same('minigzip', ['fast']);
      await same('toybox', ['truncate', '-s', '1000', 'fast.gz']);
      assert.equal((await same('minigzip', ['-d', 'fast.gz'])).code, 1);
    });
  });

  test(`bzip2's own tests (${kind}) in ${where}`, { skip: skip('bzip2') }, async (t) => {
    const { host, same } = await both(t, kind);
    const numbers = [1, 2, 3];
    for (const name of numbers.flatMap((number) => [`sample${number}.ref`, `sample${number}.bz2`])) {
      fs.copyFileSync(path.join(sources, 'bzip2', name), path.join(host.folder, name));
    }
    const sums = async (...names) => (await same('toybox', ['sha256sum', ...names])).stdout.match(/^[0-9a-f]{64}(?=  )/gm);

    for (const number of numbers) {
      await t.test(`sample ${number} is compressed`, async () => {
        assert.deepEqual(await same('bzip2', [`-${number}`, '-k', `sample${number}.ref`]), QUIET);
        const [made, given] = await sums(`sample${number}.ref.bz2`, `sample${number}.bz2`);
        assert.equal(made, given);
      });
    }

    await t.test('the samples are decompressed', async () => {
      assert.deepEqual(await same('bzip2', ['-d', '-k', 'sample1.bz2', 'sample2.bz2']), QUIET);
      assert.deepEqual(await same('bzip2', ['-d', '-k', '-s', 'sample3.bz2']), QUIET);
      const found = await sums(...numbers.map((number) => `sample${number}`), ...numbers.map((number) => `sample${number}.ref`));
      assert.deepEqual(found.slice(0, 3), found.slice(3));
      assert.equal((await same('bzip2', ['-t', '-v', ...numbers.map((number) => `sample${number}.ref.bz2`)])).code, 0);
    });

    await t.test('modes and times are kept', async () => {
      await same('toybox', ['cp', 'sample1.ref', 'kept']);
      await same('toybox', ['chmod', '640', 'kept']);
      await same('toybox', ['touch', '-d', '2001-02-03T04:05:06Z', 'kept']);
      assert.deepEqual(await same('bzip2', ['kept']), QUIET);
      assert.equal((await same('toybox', ['stat', '-c', '%n %a %s %Y %h', 'kept.bz2'])).code, 0);
      assert.deepEqual(await same('bzip2', ['-d', 'kept.bz2']), QUIET);
      assert.match((await same('toybox', ['stat', '-c', '%n %a %s %Y %h', 'kept'])).stdout, /^kept 640 \d+ 981173106 1$/m);
    });

    await t.test('what is there, links, what is not there and what is broken are refused', async () => {
      await same('toybox', ['ln', 'kept', 'second']);
      await same('toybox', ['ln', '-s', 'kept', 'symbolic']);
      assert.equal((await same('bzip2', ['-k', 'sample1.ref', 'kept', 'symbolic', 'nowhere'])).code, 1);
      assert.deepEqual(await same('bzip2', ['-k', '-f', 'sample1.ref']), QUIET);
      await same('toybox', ['truncate', '-s', '20000', 'sample1.ref.bz2']);
      assert.equal((await same('bzip2', ['-d', '-f', 'sample1.ref.bz2'])).code, 2);
      assert.equal((await same('toybox', ['ls'])).code, 0);
    });
  });
}
