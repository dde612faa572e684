// Makes one self-contained JS library for `emcc --js-library` out of a template:
//
//   {{{ sabfs:base64 PATH }}}   the file's bytes, as a base64 string literal
//   {{{ sabfs:file PATH }}}     the file's text, as a JS string literal
//   {{{ sabfs:include PATH }}}  the file's text, verbatim; it may hold such marks itself
//
// PATH is relative to the repository, or to its dist/ folder.
//
// usage: node bundle.mjs TEMPLATE OUTPUT
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');
const MARK = /\{\{\{\s*sabfs:(\w+)\s+(\S+)\s*\}\}\}/g;

function locate(name, from) {
  for (const dir of [root, path.join(root, 'dist')]) {
    const file = path.join(dir, name);
    if (fs.existsSync(file)) return file;
  }
  throw new Error(`${from} names ${name}, which is neither in the repository nor in dist/`);
}

// Emscripten preprocesses a library's text: a line that starts with `#` is a directive, and three braces are a macro.
// Inside a string literal both can be written by escapes, so that the embedded text stays as it is.
function literal(text) {
  return JSON.stringify(text).replaceAll('{{{', '{\\x7b{').replaceAll('}}}', '}\\x7d}');
}

function expand(file, parents = []) {
  if (parents.includes(file)) throw new Error(`${file} includes itself`);
  return fs.readFileSync(file, 'utf8').replace(MARK, (mark, kind, name) => {
    const target = locate(name, file);
    switch (kind) {
      case 'base64': return JSON.stringify(fs.readFileSync(target).toString('base64'));
      case 'file': return literal(fs.readFileSync(target, 'utf8'));
      case 'include': return expand(target, [...parents, file]);
      default: throw new Error(`${file}: unknown mark ${mark}`);
    }
  });
}

const [template, output] = process.argv.slice(2);
if (!output) {
  console.error('usage: node bundle.mjs TEMPLATE OUTPUT');
  process.exit(2);
}
try {
  const text = expand(path.resolve(template));
  fs.writeFileSync(`${output}.new`, text);
  fs.renameSync(`${output}.new`, output);
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exit(1);
}
