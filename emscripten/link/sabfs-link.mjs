#!/usr/bin/env node
// Makes what names archives of the shim: the response files, and files for pkg-config. They need the shim compiled by the
// Emscripten that links the program; the port and CMake see to that themselves.
//
//   npx sabfs-link          after an installation, and when Emscripten changes
//   emcc app.c @node_modules/sabfs/sabfs.rsp
import path from 'node:path';
import { VARIANTS, write } from './flags.mjs';
import { compileShim } from './shim.mjs';

const folder = path.resolve(import.meta.dirname, '..');
if (process.argv.length > 2) {
  console.error('usage: sabfs-link');
  process.exit(2);
}
try {
  for (const { suffix, compile } of Object.values(VARIANTS)) {
    await compileShim(path.join(folder, 'shim'), path.join(folder, `lib/libsabfs-shim${suffix}.a`), compile);
  }
  write(folder);
} catch (error) {
  const missing = error.code === 'ENOENT' && 'em++ and em-config have to be on PATH';
  console.error(missing || error.stderr || `error: ${error.message}`);
  process.exit(1);
}
for (const name of Object.keys(VARIANTS)) console.log(path.join(folder, `${name}.rsp`));
console.log(path.join(folder, 'lib/pkgconfig'));
