// Packs a real source tree for the tests that unpack one: OpenSSL's, as the crate openssl-src carries it (2,300 files
// in 190 folders). cargo fetches it once and keeps it (demo/sources/Cargo.toml).
//
// Crates hold neither symbolic links nor times, and of the modes only whether a file can be executed. The packer adds
// links, some of them long, dangling or in other scripts; times with nanoseconds; and other modes here and there.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');
const sha256 = (data) => createHash('sha256').update(data).digest('hex');

/** The folder of the crate's sources. */
function sourceTree() {
  const manifest = path.join(root, 'demo/sources/Cargo.toml');
  const options = ['metadata', '--locked', '--format-version', '1', '--manifest-path', manifest];
  const limits = { encoding: 'utf8', maxBuffer: 1 << 26, stdio: ['ignore', 'pipe', 'pipe'] };
  let text;
  try {
    // What was fetched before needs no network.
    text = execFileSync('cargo', ['--offline', ...options], limits);
  } catch {
    text = execFileSync('cargo', options, limits);
  }
  const crate = JSON.parse(text).packages.find((found) => found.name === 'openssl-src');
  return path.dirname(crate.manifest_path);
}

/**
 * Packs the tree. Resolves with {archive, manifest, files, links, folders}: a tar archive and a manifest for
 * tree_verify (both Buffers), and how many of each there are.
 */
export function packTree() {
  const source = sourceTree();
  const members = [];
  walk(source, '', members);
  addLinks(members);
  return packMembers(members);
}

/** The same of members that are given: {path, type: 'f', 'l' or 'd', mode, data: a Buffer, of a link its target}. */
export function packMembers(members) {
  // Parents first, as the program makes a folder where the archive names it.
  members.sort((a, b) => (a.path < b.path ? -1 : 1));

  const parts = [];
  const lines = [];
  for (const member of members) {
    const { seconds, nanoseconds } = inventTime(member);
    put(parts, member, seconds, nanoseconds);
    const { type, mode, data } = member;
    const hash = type === 'd' ? '-' : sha256(data);
    const time = `${seconds}.${String(nanoseconds).padStart(9, '0')}`;
    lines.push(`${type} ${mode.toString(8)} ${time} ${data.length} ${hash} ${member.path}\n`);
  }
  parts.push(Buffer.alloc(1024));
  const count = (type) => members.filter((member) => member.type === type).length;
  return {
    archive: Buffer.concat(parts),
    manifest: Buffer.from(lines.join('')),
    files: count('f'),
    links: count('l'),
    folders: count('d'),
  };
}

// A number from 0 to 2^32-1 that follows from the name, so that every run packs the same archive.
const chance = (name, use) => createHash('sha256').update(`${use} ${name}`).digest().readUInt32LE();

function walk(source, folder, members) {
  for (const entry of fs.readdirSync(path.join(source, folder), { withFileTypes: true })) {
    const name = folder ? `${folder}/${entry.name}` : entry.name;
    // cargo's own mark beside the sources.
    if (name === '.cargo-ok') continue;
    if (entry.isDirectory()) {
      const mode = [0o755, 0o755, 0o700, 0o1777][chance(name, 'mode') % 4];
      members.push({ path: name, type: 'd', mode, data: Buffer.alloc(0) });
      walk(source, name, members);
      continue;
    }
    const file = path.join(source, name);
    let mode = fs.statSync(file).mode & 0o100 ? 0o755 : 0o644;
    if (chance(name, 'unusual') % 16 === 0) mode = [0o600, 0o444, 0o664, 0o4755, 0o400][chance(name, 'mode') % 5];
    members.push({ path: name, type: 'f', mode, data: fs.readFileSync(file) });
  }
}

function addLinks(members) {
  const link = (name, target) => members.push({ path: name, type: 'l', mode: 0o777, data: Buffer.from(target) });
  const firstFile = new Map();
  for (const { path: name, type } of members) {
    const { dir, base } = path.posix.parse(name);
    if (type === 'f' && !firstFile.has(dir)) firstFile.set(dir, base);
  }
  for (const [folder, file] of firstFile) {
    if (folder === '') continue;
    link(`${folder}/a link to ${file}`, file);
    link(`${folder}/top`, '../'.repeat(folder.split('/').length));
  }
  link('dangling', 'there/is/no such file');
  link('absolute', '/opfs/tree/Cargo.toml');
  link('to-itself', 'to-itself');
  link('long', `${'./'.repeat(200)}Cargo.toml`);
  link('ссылка → 連結', 'Cargo.toml');
}

// From 2001 to 2033, and nanoseconds that a clock of milliseconds cannot hold.
function inventTime(member) {
  return { seconds: 1e9 + (chance(member.path, 's') % 1e9), nanoseconds: chance(member.path, 'ns') % 1e9 };
}

function put(parts, { path: name, type, mode, data }, seconds, nanoseconds) {
  const records = [record('mtime', `${seconds}.${String(nanoseconds).padStart(9, '0')}`)];
  if (Buffer.byteLength(name) > 100) records.push(record('path', name));
  if (type === 'l' && data.length > 100) records.push(record('linkpath', data.toString()));
  const extended = Buffer.concat(records);
  parts.push(header('pax', 'x', 0o644, extended.length, 0, ''), ...padded(extended));
  const kind = { f: '0', l: '2', d: '5' }[type];
  const target = type === 'l' ? data.toString() : '';
  parts.push(header(name, kind, mode, type === 'f' ? data.length : 0, seconds, target));
  if (type === 'f') parts.push(...padded(data));
}

function padded(data) {
  return [data, Buffer.alloc((512 - (data.length % 512)) % 512)];
}

// The record's length counts its own digits.
function record(key, value) {
  const rest = ` ${key}=${value}\n`;
  let length = Buffer.byteLength(rest) + 1;
  while (Buffer.byteLength(`${length}${rest}`) !== length) length++;
  return Buffer.from(`${length}${rest}`);
}

function header(name, kind, mode, size, seconds, target) {
  const block = Buffer.alloc(512);
  const octal = (value, at, width) => block.write(value.toString(8).padStart(width - 1, '0'), at, 'latin1');
  // Longer ones stand in the extended header; Buffer.write cuts them.
  block.write(name, 0, 100);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(seconds, 136, 12);
  block.write(kind, 156);
  block.write(target, 157, 100);
  block.write('ustar\x0000', 257, 'latin1');
  // The sum is taken with blanks in its own place.
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}
