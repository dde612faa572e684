// Writes what a program is linked with, so that users type one thing:
//
//   dist/sabfs.rsp      emcc app.c @dist/sabfs.rsp     programs with threads (-pthread)
//   dist/sabfs-st.rsp   emcc app.c @dist/sabfs-st.rsp  programs without
//   dist/sabfs.py       emcc app.c --use-port=dist/sabfs.py, which chooses by itself
//
// The names of the wrapped system calls are taken from the files that define them.
//
// usage: node emscripten/flags.mjs DIST
import fs from 'node:fs';
import path from 'node:path';

const dist = path.resolve(process.argv[2] ?? 'dist');
const files = ['syscalls', 'names', 'open', 'descriptors', 'directories', 'io', 'locks', 'maps', 'pipes', 'poll', 'space'];
const names = files.flatMap((name) => {
  const source = path.join(import.meta.dirname, `../c-shim/sabfs_${name}.cpp`);
  const wrapped = [...fs.readFileSync(source, 'utf8').matchAll(/^\S+ __wrap_(\w+)\(/gm)].map((match) => match[1]);
  if (wrapped.length === 0) throw new Error(`${source} wraps nothing`);
  return wrapped;
});

const common = [
  '-sWASMFS',
  `-I"${path.join(dist, 'include')}"`,
  `--js-library="${path.join(dist, 'libsabfs.js')}"`,
  // So that Module.sabfs works in a program that names nothing of the library.
  '-Wl,--undefined=sabfs_mount',
  ...names.map((name) => `-Wl,--wrap=${name}`),
];
const write = (file, lines) => fs.writeFileSync(path.join(dist, file), lines.join('\n') + '\n');
write('sabfs.rsp', ['-pthread', ...common, `"${path.join(dist, 'lib/libsabfs-mt.a')}"`]);
// With an imported memory the store is reached without JavaScript in between.
write('sabfs-st.rsp', ['-sIMPORTED_MEMORY', ...common, `"${path.join(dist, 'lib/libsabfs.a')}"`]);
fs.copyFileSync(path.join(import.meta.dirname, 'sabfs.py'), path.join(dist, 'sabfs.py'));
// For pages whose policy forbids workers made of embedded text.
const script = (name) => fs.readFileSync(path.join(import.meta.dirname, name), 'utf8');
const keeper = ['devices.js', 'relay.js', 'watch.js', 'heir.js', 'keeper.js'].map(script).join('');
fs.writeFileSync(path.join(dist, 'keeper.js'), keeper);
