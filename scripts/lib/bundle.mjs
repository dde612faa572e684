// Makes one self-contained file out of a template: the JS library for `emcc --js-library`, or the module for pages.
//
//   {{{ sabfs:base64 PATH }}}   the file's bytes, as a base64 string literal
//   {{{ sabfs:file PATH }}}     the file's text, as a JS string literal
//   {{{ sabfs:include PATH }}}  the file's text, verbatim; it may hold such marks itself
//   {{{ sabfs:library PATH }}}  the file, a JS library of Emscripten's, as statements that declare what it adds under the names
//                               that Emscripten gives a program; what a browser or Node takes is chosen at run time
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

// What a library may ask for at link time, for a program without threads whose memory is imported.
const SETTINGS = {
  PTHREADS: 0, SHARED_MEMORY: 0, IMPORTED_MEMORY: 1, PROXY_TO_PTHREAD: 0, ASYNCIFY: 0, ENVIRONMENT_MAY_BE_WEB: 1,
  ENVIRONMENT_MAY_BE_WORKER: 1, ENVIRONMENT_MAY_BE_NODE: 1, expectToReceiveOnModule: () => false,
  WASMFS: 1, MEMORY64: 0, LTO: 0, MAIN_MODULE: 0, SIDE_MODULE: 0, MINIMAL_RUNTIME: 0, WASM_WORKERS: 0, STANDALONE_WASM: 0, WASM2JS: 0,
};

// Leaves out the lines that Emscripten's preprocessor would.
function preprocess(text, file) {
  const kept = [];
  // For each open `#if`: whether it stands where lines are kept, whether one of its branches was taken, and whether this one is.
  const open = [];
  const holds = (expression) => Function(...Object.keys(SETTINGS), `return (${expression})`)(...Object.values(SETTINGS));
  for (const line of text.split('\n')) {
    const [, word, rest] = /^#(if|elif|else|endif)\b(.*)/.exec(line) ?? [];
    const top = open.at(-1);
    if (word && word !== 'if' && !top) throw new Error(`${file}: #${word} without #if`);
    if (word === 'if') {
      const kept = !top || top.taken;
      const taken = kept && !!holds(rest);
      open.push({ kept, any: taken, taken });
    } else if (word === 'elif' || word === 'else') {
      top.taken = top.kept && !top.any && (word === 'else' || !!holds(rest));
      top.any ||= top.taken;
    } else if (word === 'endif') {
      open.pop();
    } else if (!top || top.taken) {
      kept.push(line);
    }
  }
  if (open.length) throw new Error(`${file}: #if without #endif`);
  return kept.join('\n');
}

// Linux's numbers of errors, as the core has them: the module for pages gives these.
function errnoNumbers() {
  const text = fs.readFileSync(path.join(root, 'src/errno.rs'), 'utf8');
  return Object.fromEntries([...text.matchAll(/^ {4}(E\w+) (\d+) \d+ "/gm)].map(([, name, number]) => [name, number]));
}

function library(file, parents) {
  const numbers = errnoNumbers();
  const text = preprocess(expand(file, parents), file)
    .replace(/\{\{\{\s*cDefs\.(\w+)\s*\}\}\}/g, (mark, name) => {
      if (!(name in numbers)) throw new Error(`${file}: the core has no ${name}`);
      return numbers[name];
    })
    .replace(/\{\{\{\s*makeGetValue\('(\w+)', 0, '\*'\)\s*\}\}\}/g, 'HEAPU32[$1 >>> 2]');
  const left = /\{\{\{.*?\}\}\}/.exec(text);
  if (left) throw new Error(`${file}: ${left[0]} is not known here`);
  const names = (pattern) => [...new Set([...text.matchAll(pattern)].map(([, name]) => name))];
  // Names that begin with a dollar sign are a program's without it, others with an underscore before them.
  const objects = names(/^ {2}\$(\w+?):/gm).filter((name) => !name.includes('__'));
  const functions = names(/^ {2}(sabfs_\w+?):/gm).filter((name) => !name.includes('__'));
  return [
    'const library = {}, addToLibrary = (part) => Object.assign(library, part);',
    text,
    ...objects.map((name) => `var ${name} = library['$${name}'];`),
    ...functions.map((name) => `var _${name} = library['${name}'];`),
  ].join('\n');
}

function expand(file, parents = []) {
  if (parents.includes(file)) throw new Error(`${file} includes itself`);
  return fs.readFileSync(file, 'utf8').replace(MARK, (mark, kind, name) => {
    const target = locate(name, file);
    switch (kind) {
      case 'base64': return JSON.stringify(fs.readFileSync(target).toString('base64'));
      case 'file': return literal(fs.readFileSync(target, 'utf8'));
      case 'include': return expand(target, [...parents, file]);
      case 'library': return library(target, [...parents, file]);
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
