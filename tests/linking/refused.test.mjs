// What does not work is refused before anything is linked, by a sentence that says why: by each way of linking, and by versions
// of Emscripten that nobody has tried.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { write } from '../../emscripten/link/flags.mjs';
import { COMMON, WAYS, attempt, configure, dist, lacks, root, temporary } from './link.mjs';

const skip = lacks('emcc');
const program = path.join(import.meta.dirname, 'program.c');
const object = (folder) => path.join(folder, 'program.o');

const SETTINGS = [
  { flags: ['-sWASMFS=0'], says: 'link with -sWASMFS' },
  { flags: ['-m64'], says: 'wasm32' },
  { flags: ['-flto'], says: '-flto' },
  { flags: ['-sMAIN_MODULE=2'], says: '-sMAIN_MODULE' },
  { flags: ['-sSIDE_MODULE=2'], says: 'side modules', ways: ['port'] },
  { flags: ['-sMINIMAL_RUNTIME'], says: '-sMINIMAL_RUNTIME' },
  { flags: ['-sWASM_WORKERS'], says: '-sWASM_WORKERS' },
  { flags: ['-sSTANDALONE_WASM'], says: '-sSTANDALONE_WASM' },
  { flags: ['-sWASM=0'], says: 'WebAssembly' },
];

test('settings', { skip, concurrency: 2 }, async (t) => {
  const cases = SETTINGS.flatMap(({ ways = ['rsp', 'port'], ...rest }) => ways.map((way) => ({ way, ...rest })));
  await Promise.all(
    cases.map(({ way, flags, says }) =>
      t.test(`${flags.join(' ')} by ${way}`, async (t) => {
        const output = path.join(temporary(t), 'program.js');
        // Emscripten would make its system libraries first, of a kind that nobody needs.
        const given = [...(await WAYS[way](dist, false)), ...flags, '-nostdlib'];
        const { code, stderr } = await attempt('emcc', [program, '-O1', ...given, '-o', output]);
        assert.notEqual(code, 0);
        assert.match(stderr, new RegExp(`SABFS [^\n]*${says}`));
        assert.ok(!fs.existsSync(output), 'no program is made');
      }),
    ),
  );
});

test('threads with the archive for programs without', { skip }, async (t) => {
  const output = path.join(temporary(t), 'program.js');
  const { code, stderr } = await attempt('emcc', [program, '-O1', '-pthread', ...COMMON, ...(await WAYS.rsp(dist, false)), '-o', output]);
  assert.notEqual(code, 0);
  assert.match(stderr, /--shared-memory is disallowed by sabfs_/);
});

test('options of the port that it has not', { skip }, async (t) => {
  for (const [options, says] of [[':threads=many', '`threads` is one of auto, on'], [':store=own:threads=on', 'without threads'], [':color=red', '`color` is not supported']]) {
    const { code, stderr } = await attempt('emcc', [program, '-c', ...(await WAYS.port(dist, false, options)), '-o', object(temporary(t))]);
    assert.notEqual(code, 0, options);
    assert.ok(stderr.includes(says), `${options}: ${stderr}`);
  }
});

// A library that says it is for versions that are not there yet.
function futureLibrary(t) {
  const folder = temporary(t);
  for (const name of ['shim', 'libsabfs.js', 'include']) fs.cpSync(path.join(dist, name), path.join(folder, name), { recursive: true });
  const header = path.join(folder, 'shim/sabfs_version.h');
  const text = fs.readFileSync(header, 'utf8');
  fs.writeFileSync(header, text.replace(/FIRST \d+/, 'FIRST 900000').replace(/END \d+/, 'END 910000'));
  write(folder);
  return folder;
}

test('versions of Emscripten that the shim does not know', { skip }, async (t) => {
  const folder = futureLibrary(t);
  await t.test('the shim', async (t) => {
    const script = path.join(root, 'emscripten/link/shim.mjs');
    const { code, stderr } = await attempt(process.execPath, [script, path.join(folder, 'shim'), path.join(temporary(t), 'shim.a')]);
    assert.notEqual(code, 0);
    assert.match(stderr, /error: "SABFS needs Emscripten [\d.]+ or newer, before [\d.]+/);
  });
  await t.test('the port', async (t) => {
    const { code, stderr } = await attempt('emcc', [program, '-c', ...(await WAYS.port(folder, false)), '-o', object(temporary(t))]);
    assert.notEqual(code, 0);
    assert.match(stderr, /SABFS needs Emscripten 90\.0\.0 or newer, before 91\.0\.0; this is \d/);
  });
  await t.test('CMake', { skip: lacks('emcmake', 'cmake', 'make') }, async (t) => {
    const { code, stderr } = await configure(temporary(t), { library: folder, call: attempt });
    assert.notEqual(code, 0);
    assert.match(stderr.replace(/\s+/g, ' '), /SABFS needs Emscripten 90\.0\.0 or newer, before 91\.0\.0; this is \d/);
  });
});

test('CMake without Emscripten', { skip: lacks('cmake', 'make', 'cc', 'c++') }, async (t) => {
  const settings = ['-S', import.meta.dirname, '-B', temporary(t), `-Dsabfs_DIR=${path.join(dist, 'lib/cmake/sabfs')}`];
  const { code, stderr } = await attempt('cmake', settings);
  assert.notEqual(code, 0);
  assert.match(stderr.replace(/\s+/g, ' '), /run emcmake cmake/);
});
