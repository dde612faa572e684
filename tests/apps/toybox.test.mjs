// toybox's commands on a tree at /opfs: each one a program of its own, which answers as on Linux and leaves the same.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { both, KINDS, skip, where } from './places.mjs';

const QUIET = { code: 0, stdout: '', stderr: '' };

const FILES = `
  local seed = 11
  local function random(limit)
    seed = (seed * 1103515245 + 12345) % 2147483648
    return seed // 65536 % limit
  end
  local function put(name, lines)
    local file <close> = assert(io.open('tree/' .. name, 'w'))
    for i = 1, lines do file:write(random(1000), ' ', ('word'):rep(random(4) + 1), i % 9 == 0 and ' rare' or '', '\\n') end
  end
  put('a/one', 400) put('a/two', 1) put('a/b/zero', 0) put('a/b/large', 100000) put('a b/\u{fc}mlaut', 20) put('text', 300)
  for i = 1, 60 do put('many/' .. i, i) end
  local sparse <close> = assert(io.open('tree/sparse', 'w'))
  sparse:seek('set', 3 << 20)
  sparse:write('end')`;

// Everything that is kept of a file: of folders the size is not, as file systems have their own.
const PRINT = ['(', '-type', 'd', '-printf', '%P|%M|%T@\\n', ')', '-o', '-printf', '%P|%M|%s|%T@|%l\\n'];
const listing = (folder) => ['find', folder, ...PRINT];

for (const kind of KINDS) {
  test(`toybox (${kind}) in ${where}`, { skip: skip('toybox') }, async (t) => {
    const { volume, same } = await both(t, kind);
    const toybox = (args, options) => same('toybox', args, options);
    // Commands that answer nothing when all is well.
    const quiet = async (...commands) => {
      for (const command of commands) assert.deepEqual(await toybox(command), QUIET);
    };
    const lines = async (args) => (await toybox(args, { sorted: true })).stdout.split('\n').filter(Boolean);

    await t.test('a tree: mkdir, chmod, ln, mkfifo, touch', async () => {
      await quiet(['mkdir', '-p', 'tree/a/b/c', 'tree/empty', 'tree/a b', 'tree/many', 'tree/deep/1/2/3/4/5/6/7/8/9']);
      assert.deepEqual(await same('lua', ['-e', FILES]), QUIET);
      await quiet(
        ['ln', 'tree/a/one', 'tree/a/b/hard'],
        ['ln', '-t', 'tree', 'tree/a/one', 'tree/a/two'],
        ['ln', '-s', 'a/one', 'tree/soft'],
        ['ln', '-s', 'nowhere', 'tree/dangling'],
        ['ln', '-s', '..', 'tree/a/up'],
        ['ln', '-r', '-s', 'tree/a b/\u{fc}mlaut', 'tree/a/b/c/relative'],
        ['mkfifo', '-m', '620', 'tree/fifo'],
        ['chmod', '4751', 'tree/a/b/large'],
        ['chmod', 'u=rw,g=r,o=', 'tree/a/one', 'tree/text'],
        ['chmod', '1777', 'tree/empty'],
        ['chmod', '-R', 'g+w,o-rwx', 'tree/deep'],
        ['chmod', '400', 'tree/a/two'],
        ['touch', '-d', '1999-12-31T23:59:59.123456789Z', 'tree/a/one', 'tree/fifo', 'tree/text'],
        ['touch', '-d', '2020-02-29T12:00:00.000000001Z', 'tree/a/b/large', 'tree/a/b/zero', 'tree/sparse'],
        ['touch', '-h', '-d', '2010-10-10T10:10:10.5Z', 'tree/soft', 'tree/dangling', 'tree/a/up', 'tree/a/b/c/relative'],
        ['touch', '-r', 'tree/a/b/large', 'tree/a/two', ...Array.from({ length: 60 }, (_, i) => `tree/many/${i + 1}`), 'tree/a b/\u{fc}mlaut'],
        ['touch', '-d', '2001-01-01T01:01:01.000001Z', 'tree/a/b/c', 'tree/a/b', 'tree/a', 'tree/empty', 'tree/a b', 'tree/many',
          ...Array.from({ length: 10 }, (_, i) => `tree/deep/${'1/2/3/4/5/6/7/8/9'.slice(0, 2 * i)}`), 'tree'],
      );
      const found = await lines(listing('tree'));
      assert.ok(found.some((line) => /^a\/b\/large\|-rwsr-x--x\|\d+\|1582977600\.1\|$/.test(line)), found.join('\n'));
    });

    await t.test('cp -a keeps modes, times and symbolic links', async () => {
      await quiet(['cp', '-a', 'tree', 'copy']);
      assert.deepEqual(await lines(listing('copy')), await lines(listing('tree')));
      assert.equal((await toybox(['sha256sum', 'copy/a/b/large', 'copy/text', 'copy/sparse', 'copy/a b/\u{fc}mlaut', 'copy/a/b/zero'])).code, 0);
    });

    await t.test('tar keeps modes, times, symbolic and hard links', async () => {
      // There are no users with names.
      await quiet(['tar', '-c', '--numeric-owner', '-f', 'tree.tar', 'tree'], ['mkdir', 'out'],
        ['tar', '-x', '--numeric-owner', '-f', 'tree.tar', '-C', 'out']);
      const whole = (line) => line.replace(/\|(\d+)\.\d+/, '|$1');
      assert.deepEqual((await lines(listing('out/tree'))).map(whole), (await lines(listing('tree'))).map(whole));
      assert.equal((await lines(['find', 'out', '-samefile', 'out/tree/a/one'])).length, 3);
      assert.deepEqual(await lines(['find', 'out', '-links', '2', '-type', 'f']), ['out/tree/a/two', 'out/tree/two']);
    });

    await t.test('find', async () => {
      assert.equal((await lines(['find', 'tree', '-type', 'f', '-size', '-2', '-newer', 'tree/text'])).length > 10, true);
      assert.deepEqual(await lines(['find', 'tree', '-empty']), ['tree/a/b/zero', 'tree/deep/1/2/3/4/5/6/7/8/9', 'tree/empty']);
      assert.deepEqual(await lines(['find', 'tree', '-perm', '-4000', '-o', '-perm', '/1000']), ['tree/a/b/large', 'tree/empty']);
      await lines(['find', '-L', 'tree', '-maxdepth', '3', '-name', '*[a-z]', '-path', 'tree/a*']);
      await lines(['find', 'copy', '-path', '*/many/*', '-name', '?', '-print', '-delete']);
      await lines(['find', 'copy/many', '-mindepth', '1', '!', '-samefile', 'copy/many/10']);
    });

    await t.test('du', async () => {
      // A file whose blocks are not all there, one of two names, and what fills its blocks.
      await toybox(['du', '-k', '-a', 'tree/a/b/large', 'tree/sparse', 'tree/a/one', 'tree/one']);
      await toybox(['du', '-b', '-c', 'tree/a/b/large', 'tree/sparse', 'tree/text']);
      // Folders have as many blocks as each file system gives them: here the sums are looked at.
      const { stdout: names } = await volume.run('toybox', ['find', 'tree']);
      const { stdout: entries } = await volume.run('toybox', ['stat', '-c', '%i %b', ...names.trimEnd().split('\n')]);
      const { stdout: totals } = await volume.run('toybox', ['du', '-K', '-a', 'tree']);
      // Each file once, by whatever name.
      const blocks = new Map(entries.trimEnd().split('\n').map((line) => line.split(' ')));
      const sum = [...blocks.values()].reduce((total, own) => total + Number(own), 0);
      assert.equal(totals.trimEnd().split('\n').at(-1), `${sum}\ttree`);
      assert.ok(sum * 512 > 1 << 20);
    });

    await t.test('sed -i', async () => {
      await quiet(
        ['sed', '-i', 's/word/WORT/g;/rare/d', 'copy/text', 'copy/a/one'],
        ['sed', '-i.old', '-E', '-e', '1,5d', '-e', 's/^([0-9]+) (.*)$/\\2 \\1/', 'copy/a b/\u{fc}mlaut'],
        ['sed', '-n', '-e', '/99/w numbers', 'tree/a/b/large'],
      );
      await toybox(['sha256sum', 'copy/text', 'copy/a/one', 'copy/a b/\u{fc}mlaut', 'copy/a b/\u{fc}mlaut.old', 'numbers', 'tree/text']);
      assert.equal((await toybox(['sed', '-i', 's/a/b/', 'nowhere'])).code, 1);
    });

    await t.test('sort, uniq, comm, cut, split, paste, tac, wc, grep', async () => {
      await quiet(['sort', '-o', 'sorted', 'tree/a/b/large'], ['sort', '-n', '-k', '1,1', '-k', '2r', '-o', 'numbers', 'tree/a/b/large'],
        ['sort', '-u', '-o', 'sorted', 'sorted'], ['uniq', 'sorted', 'unique'], ['split', '-l', '3000', '-a', '3', 'tree/a/b/large', 'part-']);
      assert.equal((await toybox(['sort', '-c', 'numbers'])).code, 1);
      await toybox(['sha256sum', 'sorted', 'numbers', 'unique', 'part-aaa', 'part-abh']);
      await toybox(['wc', 'sorted', 'numbers', 'tree/text', 'tree/sparse']);
      await toybox(['comm', 'sorted', 'unique'], { sorted: true });
      await toybox(['grep', '-r', '-c', 'rare', 'tree/many', 'tree/a'], { sorted: true });
      await toybox(['tail', '-n', '3', 'part-abh', 'tree/a/one']);
      await toybox(['cmp', 'sorted', 'numbers']);
    });

    await t.test('ln, cp and mv onto what is there', async () => {
      assert.equal((await toybox(['ln', 'tree/text', 'tree/a/one'])).code, 1);
      assert.equal((await toybox(['ln', 'tree/a', 'folder'])).code, 1);
      await quiet(['ln', '-f', 'tree/text', 'copy/a/one'], ['ln', '-s', '-f', '-n', 'tree', 'link'], ['ln', '-s', '-f', '-n', 'copy', 'link']);
      assert.equal((await toybox(['cp', 'tree/text', 'copy/a/one'])).code, 1);
      assert.equal((await toybox(['cp', '-r', 'nowhere', 'tree/a', 'copy/empty/none'])).code, 1);
      await quiet(['cp', '-r', '-l', 'tree/a', 'linked'], ['cp', '-s', 'tree/text', 'by-name'], ['mv', 'linked', 'copy/moved'], ['mv', 'out', 'tree.tar', 'copy/empty'],
        ['install', '-D', '-m', '711', 'tree/text', 'copy/new/folders/text'], ['truncate', '-s', '+5k', 'copy/text'], ['fallocate', '-l', '20000', 'copy/new/reserved']);
      assert.equal((await toybox(['mv', 'tree', 'tree/a/below'])).code, 1);
      await toybox(['readlink', 'link', 'tree/a/up', 'by-name', 'tree/dangling', 'tree/text']);
      await toybox(['stat', '-c', '%n %a %F %h %s', 'copy/a/one', 'copy/moved/one', 'by-name', 'link', 'copy/text', 'copy/new/folders/text', 'copy/new/reserved']);
    });

    await t.test('rm', async () => {
      assert.equal((await toybox(['rmdir', 'tree/a', 'tree/empty', 'nowhere'])).code, 1);
      assert.equal((await toybox(['rm', 'tree/a', 'tree/text/below'])).code, 1);
      await quiet(['mkdir', '-p', 'x/y/z'], ['rmdir', '-p', 'x/y/z']);
      await quiet(['rm', '-r', '-f', 'tree', 'part-aaa', 'nowhere']);
      await toybox(['ls', '-A', '-R', '-1', '.']);
      await lines(['find', '.', '-type', 'f', '-printf', '%P %s %m\\n']);
    });
  });
}
