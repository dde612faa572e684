// CMake: find_package(sabfs) gives both targets, and compiles the shim itself.
import path from 'node:path';
import { test } from 'node:test';
import { buildByCmake, judge, lacks, temporary } from './link.mjs';

test('CMake, with threads and without', { skip: lacks('emcmake', 'cmake', 'make') }, async (t) => {
  const folder = temporary(t);
  await buildByCmake(folder);
  for (const name of ['sabfs', 'sabfs-st']) {
    await t.test(`sabfs::${name}`, () => judge(path.join(folder, name, `with-${name}.js`)));
  }
});
