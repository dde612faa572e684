// docs/posix.md names every call that there is to be, and for each a test that there is.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

const root = path.resolve(import.meta.dirname, '../..');

const CALLS = `open openat creat close dup dup2 dup3 read write pread pwrite readv writev preadv pwritev preadv2 pwritev2 sendfile splice tee
  vmsplice copy_file_range readlink readlinkat getdents64 lseek stat fstat lstat fstatat statx getcwd chdir fchdir chmod fchmod fchmodat chown
  fchown lchown fchownat access faccessat umask rename renameat renameat2 link linkat unlink unlinkat symlink symlinkat mkdir mkdirat mknod
  mknodat rmdir truncate ftruncate fallocate posix_fallocate flock fcntl mmap munmap mprotect msync mlock munlock inotify_init inotify_init1
  inotify_add_watch inotify_rm_watch sync fsync fdatasync syncfs statfs fstatfs getxattr setxattr listxattr removexattr utimensat futimens ioctl
  pipe pipe2 poll ppoll select pselect`.split(/\s+/);

const rows = fs.readFileSync(path.join(root, 'docs/posix.md'), 'utf8').split('\n').filter((line) => line.startsWith('| `'))
  .map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim()));

test('the table names every call', () => {
  const named = new Set(rows.flatMap(([calls]) => [...calls.matchAll(/`([a-z0-9_]+)`/g)].map((match) => match[1])));
  assert.deepEqual(CALLS.filter((call) => !named.has(call)), []);
});

test('every row of the table has a state, and a test that there is', () => {
  for (const [calls, state, tests] of rows) {
    assert.ok(state && !/stub/i.test(state), calls);
    const files = [...tests.matchAll(/`([\w/.]+)`/g)].map((match) => match[1]);
    assert.ok(files.length > 0, calls);
    for (const file of files) assert.ok(fs.existsSync(path.join(root, 'tests', file)), `${calls}: ${file}`);
  }
});

test('each part of the program that is compared is named', () => {
  const parts = fs.readdirSync(path.join(root, 'tests/programs/posix')).filter((name) => name.endsWith('.c') && name !== 'main.c');
  const text = rows.map((row) => row[2]).join(' ');
  assert.deepEqual(parts.filter((part) => !text.includes(`programs/posix/${part}`)), []);
});
