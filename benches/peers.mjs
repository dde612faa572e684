// The file systems that are compared, and how the program is built for each: the same source and the same flags but
// for what chooses the file system.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const dist = path.join(root, 'dist');
const output = path.join(dist, 'bench');

export const OURS = 'sabfs';

const COMMON = ['-O2', '-pthread', '-sPROXY_TO_PTHREAD', '-sPTHREAD_POOL_SIZE=6', '-sINITIAL_MEMORY=64MB'];

// Room for the folders of three threads with a thousand files each.
const CAPACITY_BYTES = 256 << 20;

/** module: settings of the program's Module. inputs: what the flags name, beside the source. */
export const PEERS = {
  [OURS]: {
    mount: '/opfs',
    flags: ['@dist/sabfs.rsp'],
    inputs: ['dist/lib/libsabfs-mt.a', 'dist/lib/libsabfs-shim-mt.a', 'dist/libsabfs.js'],
    module: { sabfs: { path: '/opfs', volume: 'bench', capacity: CAPACITY_BYTES, durability: 'strict' } },
  },
  'wasmfs-memory': { mount: '/bench', flags: ['-sWASMFS'] },
  'wasmfs-opfs': { mount: '/opfs', flags: ['-sWASMFS', '-DBENCH_OPFS'], needs: 'opfs' },
  'legacy-memfs': { mount: '/bench', flags: [] },
};

/**
 * What a ratio (our time divided by the peer's) must not exceed, or null where there is nothing to compare: an fsync
 * that reaches the disk against one that does nothing.
 */
export function targets(step) {
  const durable = step.startsWith('pwrite-fsync');
  // Both of them wait for the same disk there, so being a hundred times as fast is not to be had.
  return { 'wasmfs-memory': durable ? null : 1, 'wasmfs-opfs': durable ? 1 : 0.01 };
}

/** Links the program for a peer if need be; gives its path relative to the repository. names: keep function names. */
export function build(name, { names = false } = {}) {
  return link(name, names ? `${name}-names` : name, 'benches/bench.c', names ? ['--profiling-funcs'] : []);
}

/** Links the program that measures fsync (fsync.mjs); gives its path likewise. */
export function buildFsync() {
  return link(OURS, 'fsync', 'benches/fsync.c', ['-sPTHREAD_POOL_SIZE=10']);
}

/** Links the program that is measured with each way to its store (sharing.mjs), one of which is its own memory. */
export function buildSharing() {
  return link(OURS, 'sharing', 'benches/bench.c', ['-sINITIAL_MEMORY=192MB']);
}

function link(name, program, source, more) {
  const file = path.join(output, `${program}.js`);
  const { inputs = [] } = PEERS[name];
  const missing = inputs.find((input) => !fs.existsSync(path.join(root, input)));
  if (missing) throw new Error(`${missing} is not there\n  try: scripts/build`);
  const args = [...COMMON, ...PEERS[name].flags, ...more, source];
  const recipe = args.join(' ');
  if (!isFresh(file, recipe, [...inputs, ...args])) {
    fs.mkdirSync(output, { recursive: true });
    const result = spawnSync('emcc', [...args, '-o', file], { cwd: root, stdio: ['ignore', 2, 2] });
    if (result.error) throw new Error(`emcc does not start: ${result.error.message}`);
    if (result.status !== 0) throw new Error(`${source} does not build for ${name}`);
    fs.writeFileSync(`${file}.recipe`, recipe);
  }
  return path.relative(root, file);
}

function isFresh(file, recipe, words) {
  try {
    if (fs.readFileSync(`${file}.recipe`, 'utf8') !== recipe) return false;
    const made = fs.statSync(file).mtimeMs;
    // Flags may name files; the others name nothing that is there.
    const files = words.map((word) => fs.statSync(path.join(root, word.replace(/^@/, '')), { throwIfNoEntry: false }));
    return files.every((file) => !file?.isFile() || file.mtimeMs < made);
  } catch {
    return false;
  }
}
