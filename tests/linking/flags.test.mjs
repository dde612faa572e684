// Everything that links a program says the same: what the shim defines and the libraries need, each time by its own words.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { dist, lacks, root, WAYS } from './link.mjs';

const read = (name) => fs.readFileSync(path.join(dist, name), 'utf8');
const sorted = (values) => [...new Set(values)].sort();
const wraps = (text) => sorted([...text.matchAll(/--wrap=(\w+)/g)].map(([, name]) => name));

// Looked for in another way than the list's maker does.
const shim = fs.readdirSync(path.join(root, 'c-shim')).filter((name) => name.endsWith('.cpp'));
const defined = sorted(
  shim.flatMap((name) => [...fs.readFileSync(path.join(root, 'c-shim', name), 'utf8').matchAll(/\b__wrap_(\w+)\([^)]*\)\s*\{/g)].map(([, call]) => call)),
);

test('each way wraps exactly the calls that the shim defines', () => {
  assert.ok(defined.length > 30, `${defined.length} calls are found`);
  for (const name of ['sabfs.rsp', 'sabfs-st.rsp', 'sabfs.py', 'lib/pkgconfig/sabfs.pc', 'lib/pkgconfig/sabfs-st.pc']) {
    assert.deepEqual(wraps(read(name)), defined, name);
  }
  const targets = read('lib/cmake/sabfs/sabfs-config.cmake').split('_sabfs_add(').slice(2);
  assert.equal(targets.length, 2);
  for (const target of targets) assert.deepEqual(wraps(target), defined, target);
});

test('pkg-config gives the flags of the response files', { skip: lacks('pkg-config') }, async () => {
  for (const threads of [true, false]) {
    const [file] = await WAYS.rsp(dist, threads);
    const wanted = fs.readFileSync(file.slice(1), 'utf8').trim().split('\n');
    const given = await WAYS['pkg-config'](dist, threads);
    const resolved = given.map((flag) => flag.replace(`${dist}/lib/pkgconfig/../..`, dist));
    assert.deepEqual(sorted(resolved), sorted(wanted));
  }
});

test('the port and CMake compile the shim as the archives are compiled', () => {
  const port = read('sabfs.py');
  const cmake = read('lib/cmake/sabfs/sabfs-config.cmake');
  for (const name of shim) {
    assert.match(port, new RegExp(`'${name}'`));
    assert.match(cmake, new RegExp(`/shim/${name}"`));
  }
  for (const flag of ['-O3', '-fno-exceptions', '-fno-rtti', '-D_GNU_SOURCE']) {
    assert.ok(port.includes(`'${flag}'`), flag);
    assert.match(cmake, new RegExp(`target_compile_options.* ${flag}[ )]`));
  }
});

test('one version everywhere', async () => {
  const [, version] = /^version = "(.*)"$/m.exec(fs.readFileSync(path.join(root, 'Cargo.toml'), 'utf8'));
  assert.equal(JSON.parse(fs.readFileSync(path.join(root, 'js/package.json'), 'utf8')).version, version);
  assert.match(read('shim/sabfs_version.h'), new RegExp(`^#define SABFS_VERSION "${version}"$`, 'm'));
  assert.match(read('lib/pkgconfig/sabfs.pc'), new RegExp(`^Version: ${version}$`, 'm'));
  assert.match(read('lib/cmake/sabfs/sabfs-config-version.cmake'), new RegExp(`^set\\(PACKAGE_VERSION "${version}"\\)$`, 'm'));
});

test('the documentation names the versions of Emscripten that the shim takes', () => {
  const header = read('shim/sabfs_version.h');
  const [first, end] = ['FIRST', 'END'].map((name) => {
    const number = Number(new RegExp(`^#define SABFS_EMSCRIPTEN_${name} (\\d+)$`, 'm').exec(header)[1]);
    return `${Math.floor(number / 10000)}.${Math.floor(number / 100) % 100}.${number % 100}`;
  });
  const sentence = `Emscripten ${first} or newer, before ${end}`;
  assert.ok(header.includes(sentence), `sabfs_version.h: ${sentence}`);
  assert.ok(read('sabfs.py').includes(sentence), `sabfs.py: ${sentence}`);
  assert.ok(fs.readFileSync(path.join(root, 'docs/linking.md'), 'utf8').includes(sentence), `docs/linking.md: ${sentence}`);
});
