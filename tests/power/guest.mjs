// The machine whose power fails: QEMU with a Linux kernel, and an initial file system with our program and nothing else.
import assert from 'node:assert';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const REPOSITORY = path.resolve(import.meta.dirname, '../..');
const SABFS = path.join(REPOSITORY, 'target/release/sabfs');
const MODULES = ['virtio_pci', 'virtio_blk', 'fuse'];

/** Why no guest can run here; undefined if it can. */
export function unavailable() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'this is not Linux on x86-64';
  if (!isThere('qemu-system-x86_64')) return 'there is no qemu-system-x86_64 (apt-get install qemu-system-x86)';
  if (!isThere('mkfs.ext4')) return 'there is no mkfs.ext4 (apt-get install e2fsprogs)';
  if (!kernel()) return "there is no kernel to boot (scripts/setup power gets Debian's)";
  if (!fs.existsSync(SABFS)) return 'sabfs is not built (cargo build --release --bin sabfs)';
  return undefined;
}

const isThere = (command) =>
  [...process.env.PATH.split(':'), '/usr/sbin', '/sbin'].some((folder) => fs.existsSync(path.join(folder, command)));

// Where scripts/setup unpacked a kernel: the image and the folder of its modules.
function kernel() {
  const cache = process.env.SABFS_CACHE ?? path.join(process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'), 'sabfs');
  const boot = path.join(cache, 'kernel/boot');
  if (!fs.existsSync(boot)) return undefined;
  const image = fs.readdirSync(boot).find((name) => name.startsWith('vmlinuz-'));
  if (!image) return undefined;
  return { image: path.join(boot, image), modules: path.join(cache, 'kernel/lib/modules', image.slice('vmlinuz-'.length)) };
}

/** Makes a file system on a new disk; gives its bytes. */
export function makeDisk(folder, sizeMib) {
  const file = path.join(folder, 'disk');
  // The way it is made by default: ordered data, a journal.
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  execFileSync('mkfs.ext4', ['-q', '-F', file, `${sizeMib}M`], { env });
  const bytes = fs.readFileSync(file);
  fs.rmSync(file);
  return bytes;
}

/** Compiles the guest's program and packs the initial file system; gives what `boot` wants. */
export function prepare(folder) {
  const { image, modules } = kernel();
  const init = path.join(folder, 'init');
  const sources = ['guest.c', 'guest-load.c'].map((name) => path.join(import.meta.dirname, name));
  execFileSync('cc', ['-O1', '-static', '-Wall', '-Wextra', '-o', init, ...sources], { stdio: 'inherit' });
  const loaded = modulesInOrder(modules);
  const files = [{ name: 'init', from: init }, { name: 'bin/sabfs', from: SABFS }];
  for (const [name, from] of loaded) files.push({ name: `modules/${name}.ko`, from });
  for (const [, library] of execFileSync('ldd', [SABFS], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g))
    files.push({ name: library.slice(1), from: library });
  const initrd = path.join(folder, 'initrd');
  fs.writeFileSync(initrd, archive(files));
  return { image, initrd, modules: [...loaded.keys()].join(',') };
}

// The modules and what they need, in the order in which they are to be loaded. What is built in has no file.
function modulesInOrder(folder) {
  const files = new Map(
    fs.readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.ko'))
      .map((name) => [path.basename(name, '.ko').replaceAll('-', '_'), path.join(folder, name)]));
  const order = new Map();
  const add = (name) => {
    const file = files.get(name);
    if (!file || order.has(name)) return;
    const needs = /\0depends=([^\0]*)\0/.exec(fs.readFileSync(file, 'latin1'))?.[1] ?? '';
    for (const needed of needs.split(',')) add(needed.replaceAll('-', '_'));
    order.set(name, file);
  };
  for (const name of MODULES) add(name);
  return order;
}

// An archive as the kernel wants it: cpio, "newc".
function archive(files) {
  const parts = [];
  let number = 0;
  const add = (name, mode, data) => {
    const path = Buffer.from(`${name}\0`);
    const fields = [++number, mode, 0, 0, 1, 0, data.length, 0, 0, 0, 0, path.length, 0];
    const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
    const padding = (length) => Buffer.alloc(-length & 3);
    parts.push(header, path, padding(header.length + path.length), data, padding(data.length));
  };
  const folders = new Set();
  for (const { name } of files)
    for (let folder = path.dirname(name); folder !== '.'; folder = path.dirname(folder)) folders.add(folder);
  for (const folder of [...folders].sort()) add(folder, 0o40755, Buffer.alloc(0));
  for (const { name, from } of files) add(name, 0o100755, fs.readFileSync(from));
  add('TRAILER!!!', 0, Buffer.alloc(0));
  return Buffer.concat(parts);
}

/**
 * Boots the machine with the disk at `socket`. `onLine` is called with each line that arrives from the guest. Gives
 * `kill()`, which resolves when the machine is gone and its last line was read, `over`, which resolves then, too, and `console()`,
 * what the kernel said.
 */
export function boot({ machine, socket, folder, settings, onLine }) {
  const log = path.join(folder, 'console');
  fs.rmSync(log, { force: true });
  const words = { ...settings, MODULES: machine.modules };
  // On a busy machine the kernel's test of the timer fails, after which it may hang.
  const commandLine = ['console=ttyS0', 'quiet', 'panic=-1', 'no_timer_check', 'mitigations=off', 'random.trust_cpu=on',
    ...Object.entries(words).map(([name, value]) => `${name}=${value}`)].join(' ');
  assert(commandLine.length < 1000);
  // TCG: whether there is KVM differs from machine to machine, and many say they have it and do not.
  const qemu = spawn('qemu-system-x86_64', ['-accel', 'tcg', '-cpu', 'max', '-machine', 'pc', '-m', '384', '-smp', '1',
    '-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot',
    '-serial', `file:${log}`, '-serial', 'stdio',
    '-kernel', machine.image, '-initrd', machine.initrd, '-append', commandLine,
    '-blockdev', `driver=nbd,node-name=disk,server.type=unix,server.path=${socket},cache.direct=off,cache.no-flush=off`,
    '-device', 'virtio-blk-pci,drive=disk,write-cache=on,discard=off,write-zeroes=off',
  ], { stdio: ['ignore', 'pipe', 'pipe'] });
  let rest = '', complaints = '';
  qemu.stdout.setEncoding('latin1').on('data', (text) => {
    const lines = (rest + text).split('\n');
    // A line that was cut off was not received.
    rest = lines.pop();
    for (const line of lines) onLine(line);
  });
  qemu.stderr.setEncoding('utf8').on('data', (text) => (complaints += text));
  const over = new Promise((resolve, reject) => qemu.once('error', reject).once('close', resolve));
  return {
    over,
    console: () => `${fs.existsSync(log) ? fs.readFileSync(log, 'utf8') : ''}${complaints}`,
    kill: () => {
      qemu.kill('SIGKILL');
      return over;
    },
  };
}
