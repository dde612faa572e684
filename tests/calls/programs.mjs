// The programs whose answers are compared with Linux's, and how they are compiled for the host.
import fs from 'node:fs';
import path from 'node:path';

const folder = path.resolve(import.meta.dirname, '../programs/posix');

export const sources = fs.readdirSync(folder).filter((name) => name.endsWith('.c')).map((name) => `tests/programs/posix/${name}`);

export const programs = [
  { name: 'posix-mt', flags: ['-lpthread'] },
  { name: 'posix-st', flags: ['-DNOTHREADS'] },
];
