// Makes the npm package out of dist/ and packs it: dist/sabfs-VERSION.tgz. It holds what people need who have Emscripten but no
// Rust (the archives of Rust code, the shim's source, what links both to a program), and the module for pages.
//
// usage: node package.mjs
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { write } from '../../emscripten/link/flags.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const dist = path.join(root, 'dist');
const folder = path.join(dist, 'package');

// From where a file or folder comes, to where it lies in the package.
const CONTENTS = {
  'dist/js/index.js': 'index.js',
  'dist/js/index.d.ts': 'index.d.ts',
  'dist/keeper.js': 'keeper.js',
  'dist/libsabfs.js': 'libsabfs.js',
  'dist/include': 'include',
  'dist/shim': 'shim',
  'dist/lib/libsabfs.a': 'lib/libsabfs.a',
  'dist/lib/libsabfs-mt.a': 'lib/libsabfs-mt.a',
  'emscripten/link': 'link',
  'docs/attach.md': 'docs/attach.md',
  'docs/linking.md': 'docs/linking.md',
  'docs/page.md': 'docs/page.md',
  'README.md': 'README.md',
  'LICENSE-APACHE': 'LICENSE-APACHE',
  'LICENSE-MIT': 'LICENSE-MIT',
};

fs.rmSync(folder, { recursive: true, force: true });
for (const [from, to] of Object.entries(CONTENTS)) {
  const target = path.join(folder, to);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.cpSync(path.join(root, from), target, { recursive: true });
}
write(folder);
// They name this folder, and archives that are compiled where the package is installed.
for (const name of ['sabfs.rsp', 'sabfs-st.rsp']) fs.rmSync(path.join(folder, name));

const described = JSON.parse(fs.readFileSync(path.join(root, 'js/package.json'), 'utf8'));
const contents = {
  ...described,
  exports: { ...described.exports, './keeper.js': './keeper.js', './package.json': './package.json' },
  bin: { 'sabfs-link': 'link/sabfs-link.mjs' },
  files: [...new Set(Object.values(CONTENTS).map((name) => name.split('/')[0])), 'sabfs.py'],
};
fs.writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(contents, null, 2)}\n`);
const [packed] = JSON.parse(
  execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', dist], { cwd: folder, encoding: 'utf8' }),
);
console.log(`dist/${packed.filename}: ${packed.entryCount} files, ${Math.round(packed.size / 1024)} KiB`);
