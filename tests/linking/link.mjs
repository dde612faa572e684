// Links a program as users do, and runs it in Node: once to make files, and started anew to find them.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { unavailable } from '../harness/browser.mjs';
import { runInBrowser } from '../harness/run-program.mjs';
import { serve } from '../harness/server.mjs';
import { borrow } from '../harness/shared-browser.mjs';

export const root = path.resolve(import.meta.dirname, '../..');
export const dist = path.join(root, 'dist');
const node = process.env.SABFS_NODE ?? process.execPath;

const here = (name) => path.join(import.meta.dirname, name);

export function temporary(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-linking-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs a command and resolves with {code, stdout, stderr}, whatever it says. */
export function attempt(command, args, { cwd, env, timeout = 600_000 } = {}) {
  return new Promise((resolve) => {
    execFile(command, args, { cwd, timeout, env: { ...process.env, ...env }, maxBuffer: 16 << 20 }, (error, stdout, stderr) =>
      resolve({ code: error ? (error.code ?? error.signal) : 0, stdout, stderr }),
    );
  });
}

/** The same for a command that has to succeed. */
export async function run(command, args, options) {
  const result = await attempt(command, args, options);
  assert.equal(result.code, 0, `${command} ${args.join(' ')}\n${result.stdout}${result.stderr}`);
  return result;
}

/** The flags of each way, for the library in `folder`; `threads`: whether the program has any. */
export const WAYS = {
  rsp: async (folder, threads) => [`@${path.join(folder, threads ? 'sabfs.rsp' : 'sabfs-st.rsp')}`],
  port: async (folder, threads, options = '') => [`--use-port=${path.join(folder, 'sabfs.py')}${options}`, ...(threads && !options ? ['-pthread'] : [])],
  'pkg-config': async (folder, threads) => {
    const env = { PKG_CONFIG_PATH: path.join(folder, 'lib/pkgconfig'), PKG_CONFIG_LIBDIR: '' };
    const { stdout } = await run('pkg-config', ['--cflags', '--libs', threads ? 'sabfs' : 'sabfs-st'], { env });
    return stdout.trim().split(/\s+/);
  },
};

/** What all programs here are linked with beside a way's flags. */
export const COMMON = ['-sEXIT_RUNTIME=1', '--pre-js', here('settings.js')];

/**
 * Links tests/linking/program.c into `folder`; resolves with the program's path.
 *
 * way, threads, options  how (WAYS)
 * flags                  of the row
 * throws                 whether exceptions are thrown in it
 * own                    whether its store is in its own memory
 */
export async function link(folder, { name = 'program.js', library = dist, way, threads, options, flags = [], throws, own, env }) {
  const output = path.join(folder, name);
  const sources = [here('program.c')];
  const ways = await WAYS[way](library, threads, options);
  const pool = threads ? ['-sPTHREAD_POOL_SIZE=4'] : [];
  const settings = own ? ['--pre-js', here('own.js')] : [];
  if (throws) {
    const object = path.join(folder, 'throw.o');
    const compile = flags.filter((flag) => /^-(f|O|pthread)/.test(flag));
    await run('em++', ['-c', here('throw.cpp'), ...compile, ...(threads ? ['-pthread'] : []), '-o', object], { env });
    sources.push(object, '-DTHROWS');
  }
  await run('emcc', [...sources, ...flags, ...COMMON, ...settings, ...pool, ...ways, '-o', output], { env });
  return output;
}

/** Builds the programs of CMakeLists.txt: sabfs/with-sabfs.js and sabfs-st/with-sabfs-st.js in the folder. */
export async function buildByCmake(folder, { library = dist, env, targets = ['with-sabfs', 'with-sabfs-st'] } = {}) {
  await configure(folder, { library, env });
  await run('cmake', ['--build', folder, '--parallel', '2', '--target', ...targets], { env, timeout: 600_000 });
}

/** `call` is `attempt` where it may be refused. */
export function configure(folder, { library = dist, env, call = run } = {}) {
  const where = `-Dsabfs_DIR=${path.join(library, 'lib/cmake/sabfs')}`;
  return call('emcmake', ['cmake', '-G', 'Unix Makefiles', '-S', import.meta.dirname, '-B', folder, where], { env });
}

// What Emscripten's runtime says in a debug build when it hears of the end of a thread, which was joined, only after its own.
const HEARD_LATE = /^received "6" command from terminated worker: \d+\n/gm;

/** Runs the program twice on one volume. */
export async function judge(program, { module = false } = {}) {
  const cwd = path.dirname(program);
  const start = module ? [here('start.mjs'), program] : [program];
  for (const step of ['write', 'read']) {
    const { code, stdout, stderr } = await attempt(node, [...start, step], { cwd, timeout: 120_000 });
    assert.deepEqual({ code, stdout, stderr: stderr.replace(HEARD_LATE, '') }, { code: 0, stdout: `${step}: whole\n`, stderr: '' });
  }
  assert.ok(fs.statSync(path.join(cwd, 'sabfs/default/image')).size > 0, 'the volume has its files');
}

/** The same on a page of Chromium that is not isolated: a program that can be suspended is durable there, too. */
export async function judgeInChromium(t, program) {
  const server = await serve({ roots: [root, path.dirname(program)], isolate: false });
  t.after(() => server.close());
  const browser = await borrow(t);
  for (const step of ['write', 'read']) {
    const result = await runInBrowser(browser, server, 'program', { url: `/${path.basename(program)}`, args: [step] });
    assert.deepEqual(result, { code: 0, stdout: `${step}: whole\n`, stderr: '' });
  }
}

export const noChromium = () => unavailable('chromium');

/** Why a test cannot run here, or false. */
export function lacks(...commands) {
  const folders = process.env.PATH.split(path.delimiter);
  const missing = commands.filter((name) => !folders.some((folder) => fs.existsSync(path.join(folder, name))));
  return missing.length > 0 && `${missing.join(' and ')} not there`;
}
