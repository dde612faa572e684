// busybox's commands on a tree with hard links at /opfs: what cp -a, tar and others make of it is what they make on Linux.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { both, KINDS, skip, where } from './places.mjs';

const QUIET = { code: 0, stdout: '', stderr: '' };

const FILES = `
  local function put(name, text)
    local file <close> = assert(io.open('tree/' .. name, 'w'))
    file:write(text)
  end
  put('three', ('three names\\n'):rep(3000))
  put('a/two', 'two names')
  put('a/none', '')
  put('a/b/one', ('one name\\n'):rep(70000))
  put('a b/\u{fc}mlaut', 'a name that is not ASCII')
  for i = 1, 30 do put('many/' .. i, ('x'):rep(i * 137)) end
  local sparse <close> = assert(io.open('tree/sparse', 'w'))
  sparse:write('start')
  sparse:seek('set', 2 << 20)
  sparse:write('middle')`;

// Of folders the size is not looked at, as file systems have their own, nor how many links they have.
const FORMAT = '%n|%i|%h|%f|%s|%y';

/**
 * What a place has in folders, of which the tree's own name comes first in a path: each name with its mode, size and time of
 * modification, and with all names of the same file.
 */
async function listing(run, folder) {
  const told = async (args) => {
    const { code, stdout, stderr } = await run('busybox', args);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
    return stdout.trimEnd().split('\n');
  };
  const names = await told(['find', folder]);
  const entries = (await told(['stat', '-c', FORMAT, ...names])).map((line) => {
    const [name, inode, links, mode, size, time] = line.split('|');
    return { name: name.slice(folder.length), inode, links, mode, size, time };
  });
  const groups = Map.groupBy(entries, ({ inode }) => inode);
  return entries.map(({ name, inode, links, mode, size, time }) => {
    if (isFolder({ mode })) return { name, mode, time };
    const same = groups.get(inode).map((entry) => entry.name).sort();
    return { name, mode, time, size, links, same };
  }).sort((a, b) => (a.name < b.name ? -1 : 1));
}

const linked = (entries) => entries.filter(({ same }) => same?.length > 1).map(({ name, links, same }) => [name, links, same]);
const isFolder = ({ mode }) => mode.startsWith('4');
const isLink = ({ mode }) => mode.startsWith('a');
const withoutTimes = (entries, which) => entries.map((entry) => (which(entry) ? { ...entry, time: undefined } : entry));
/** As busybox's cp keeps it: whole seconds, and nothing of when a symbolic link was made. */
const copied = (entries) => withoutTimes(entries, isLink).map((entry) => ({ ...entry, time: entry.time?.replace(/\.\d{9}/, '.000000000') }));

const THREE = ['/a/b/c/three', '/a/three', '/three'];
const TWO = ['/a b/two', '/a/two'];
const NONE = ['/a/none', '/many/none'];
const HARD_LINKS = [...THREE.map((name) => [name, '3', THREE]), ...TWO.map((name) => [name, '2', TWO]), ...NONE.map((name) => [name, '2', NONE])]
  .sort(([a], [b]) => (a < b ? -1 : 1));

for (const kind of KINDS) {
  test(`busybox (${kind}) in ${where}`, { skip: skip('busybox') || skip('toybox') || skip('lua') }, async (t) => {
    const { host, volume, same } = await both(t, kind);
    const busybox = (args, options) => same('busybox', args, options);
    const quiet = async (...commands) => {
      for (const [app, ...args] of commands) assert.deepEqual(await same(app, args), QUIET, args.join(' '));
    };
    // In both places the same. changed: since then something was made in the folders, or by tar, which sets their times too early.
    const sameListing = async (folder, { changed } = {}) => {
      const kept = (entries) => withoutTimes(entries, (entry) => isLink(entry) || (changed && isFolder(entry)));
      const expected = kept(await listing(host.run, folder));
      assert.deepEqual(kept(await listing(volume.run, folder)), expected);
      return expected;
    };

    await t.test('a tree with hard links', async () => {
      await quiet(['busybox', 'mkdir', '-p', 'tree/a/b/c', 'tree/a b', 'tree/many', 'tree/empty/still']);
      assert.deepEqual(await same('lua', ['-e', FILES]), QUIET);
      await quiet(
        ['busybox', 'ln', 'tree/three', 'tree/a/three'],
        ['busybox', 'ln', 'tree/a/three', 'tree/a/b/c/three'],
        ['busybox', 'ln', 'tree/a/two', 'tree/a b/two'],
        ['busybox', 'ln', 'tree/a/none', 'tree/many/none'],
        ['busybox', 'ln', '-s', '../three', 'tree/a/soft'],
        ['busybox', 'ln', '-s', 'nowhere', 'tree/dangling'],
        ['busybox', 'ln', '-s', 'b', 'tree/a/below'],
        ['busybox', 'mkfifo', '-m', '620', 'tree/fifo'],
        ['busybox', 'chmod', '4751', 'tree/a/two'],
        ['busybox', 'chmod', 'u=rw,g=r,o=', 'tree/three'],
        ['busybox', 'chmod', '400', 'tree/a/b/one'],
        ['busybox', 'chmod', '1777', 'tree/empty'],
        ['busybox', 'chmod', '-R', 'g+w,o-rwx', 'tree/many'],
        // busybox's own touch takes no nanoseconds.
        ['toybox', 'touch', '-d', '1999-12-31T23:59:59.123456789Z', 'tree/three', 'tree/fifo', 'tree/a/none', 'tree/empty'],
        ['toybox', 'touch', '-d', '2020-02-29T12:00:00.000000001Z', 'tree/a/two', 'tree/sparse', 'tree/a/b/c', 'tree/a/b', 'tree/a'],
        ['busybox', 'touch', '-r', 'tree/three', 'tree/a/b/one', 'tree/a b/\u{fc}mlaut', ...Array.from({ length: 30 }, (_, i) => `tree/many/${i + 1}`)],
        ['busybox', 'touch', '-d', '2001-01-01 01:01:01', 'tree/empty/still', 'tree/a b', 'tree/many', 'tree'],
      );
      const found = await sameListing('tree');
      assert.deepEqual(linked(found), HARD_LINKS);
      assert.equal(found.find(({ name }) => name === '/a/b/one').time, '1999-12-31 23:59:59.123456789 +0000');
    });

    await t.test('cp -a keeps hard links, modes, times and symbolic links', async () => {
      await quiet(['busybox', 'cp', '-a', 'tree', 'copy']);
      const found = await sameListing('copy');
      assert.deepEqual(linked(found), HARD_LINKS);
      assert.deepEqual(found, copied(await listing(volume.run, 'tree')));
      const contents = await busybox(['diff', '-r', 'tree/a', 'copy/a']);
      assert.deepEqual({ code: contents.code, stdout: contents.stdout }, { code: 0, stdout: '' });
      await busybox(['sha256sum', 'copy/three', 'copy/a/b/one', 'copy/sparse', 'copy/a b/\u{fc}mlaut', 'copy/a/b/c/three']);
      // A file once for all its names; a hole is written as zeros.
      await busybox(['du', '-a', 'copy/three', 'copy/a/b/one', 'copy/a/three', 'copy/sparse', 'tree/sparse']);
    });

    await t.test('find by links', async () => {
      const names = async (...args) => (await busybox(['find', ...args], { sorted: true })).stdout.split('\n').filter(Boolean);
      assert.deepEqual(await names('copy', '-samefile', 'copy/a/three'), THREE.map((name) => `copy${name}`));
      assert.deepEqual(await names('copy', '-type', 'f', '-links', '+1', '-perm', '-4000'), TWO.map((name) => `copy${name}`));
      assert.deepEqual(await names('tree', 'copy', '-samefile', 'tree/a/two'), TWO.map((name) => `tree${name}`));
      await names('copy', '-type', 'f', '-empty');
      await names('copy', '!', '-newer', 'tree/three', '-type', 'f');
    });

    await t.test('tar keeps hard links', async () => {
      await quiet(['busybox', 'tar', '-c', '-f', 'tree.tar', 'tree'], ['busybox', 'mkdir', 'out'], ['busybox', 'tar', '-x', '-f', 'tree.tar', '-C', 'out']);
      await busybox(['tar', '-t', '-f', 'tree.tar'], { sorted: true });
      const found = await sameListing('out/tree', { changed: true });
      assert.deepEqual(linked(found), HARD_LINKS);
      const files = (entries) => entries.filter((entry) => !isFolder(entry));
      assert.deepEqual(files(found), files(copied(await listing(volume.run, 'tree'))));
    });

    await t.test('copies of hard links: more of them, and onto what is there', async () => {
      await quiet(['busybox', 'cp', '-a', '-l', 'copy', 'linked']);
      const three = (await sameListing('linked')).find(({ name }) => name === '/three');
      assert.deepEqual([three.links, three.same], ['6', THREE]);
      // Names that are there stand in the way; -f takes them away first.
      await busybox(['cp', '-a', 'tree/dangling', 'tree/fifo', 'out/tree']);
      await quiet(['busybox', 'cp', '-a', '-f', 'tree/.', 'out/tree']);
      await sameListing('out', { changed: true });
      await busybox(['cp', '-a', 'linked', 'nowhere', 'tree/three']);
      await quiet(['busybox', 'mv', 'linked', 'copy/empty'], ['busybox', 'sed', '-i', 's/three/3/', 'copy/a/three'],
        ['busybox', 'touch', '-r', 'copy/three', 'copy/a/three'], ['busybox', 'rm', '-r', 'tree']);
      const left = await sameListing('copy', { changed: true });
      assert.deepEqual(left.find(({ name }) => name === '/three').same, ['/a/b/c/three', ...THREE.map((name) => `/empty/linked${name}`), '/three'].sort());
      assert.equal(left.find(({ name }) => name === '/a/three').links, '1');
      await busybox(['sha256sum', 'copy/a/three', 'copy/three', 'out/tree/three', 'out/tree/a/two']);
    });
  });
}
