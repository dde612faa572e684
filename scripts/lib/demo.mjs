// Puts the demo page together in dist/demo: the page's own files and the program. The folder can be served as it is by
// any server that sends the headers for cross-origin isolation.
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');
const target = path.join(root, 'dist/demo');

fs.mkdirSync(target, { recursive: true });
const wanted = new Map();
for (const entry of fs.readdirSync(path.join(root, 'demo'), { withFileTypes: true })) {
  if (entry.isFile()) wanted.set(entry.name, path.join(root, 'demo', entry.name));
}
for (const name of ['sqlite-shell.js', 'sqlite-shell.wasm']) wanted.set(name, path.join(root, 'dist/programs', name));
for (const name of fs.readdirSync(target)) {
  if (!wanted.has(name)) fs.rmSync(path.join(target, name), { recursive: true });
}
for (const [name, source] of wanted) {
  if (!fs.existsSync(source)) {
    console.error(`error: ${path.relative(root, source)} is not there\n  try: scripts/build`);
    process.exit(1);
  }
  fs.copyFileSync(source, path.join(target, name));
}
