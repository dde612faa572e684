// Compiles the shim with the em++ on PATH into an archive.
//
// usage: node shim.mjs SOURCES ARCHIVE [FLAG…]
import { execFile, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { SHIM } from './flags.mjs';

const run = promisify(execFile);

/** `flags` are those of a variant, beside the shim's own. What the compiler says against it is the error's message. */
export async function compileShim(folder, archive, flags) {
  const root = execFileSync('em-config', ['EMSCRIPTEN_ROOT'], { encoding: 'utf8' }).trim();
  const include = path.resolve(folder, '../include');
  const headers = SHIM.headers.map((name) => `-isystem${path.join(root, name)}`);
  const common = [`-std=c++${SHIM.standard}`, ...SHIM.flags, ...flags, `-I${include}`, ...headers];
  const sources = fs.readdirSync(folder).filter((name) => name.endsWith('.cpp')).sort();
  const objects = fs.mkdtempSync(path.join(os.tmpdir(), 'sabfs-shim-'));
  try {
    const left = [...sources];
    const compileNext = async () => {
      for (let name = left.shift(); name; name = left.shift()) {
        const { stderr } = await run('em++', ['-c', path.join(folder, name), ...common, '-o', path.join(objects, `${name}.o`)]);
        process.stderr.write(stderr);
      }
    };
    await Promise.all(Array.from({ length: os.availableParallelism() }, compileNext));
    fs.mkdirSync(path.dirname(archive), { recursive: true });
    // An archive that is there would be added to.
    fs.rmSync(`${archive}.new`, { force: true });
    await run('emar', ['qc', `${archive}.new`, ...sources.map((name) => path.join(objects, `${name}.o`))]);
    fs.renameSync(`${archive}.new`, archive);
  } finally {
    fs.rmSync(objects, { recursive: true, force: true });
  }
}

if (fs.realpathSync(process.argv[1]) === import.meta.filename) {
  const [sources, archive, ...flags] = process.argv.slice(2);
  if (!archive) {
    console.error('usage: node shim.mjs SOURCES ARCHIVE [FLAG…]');
    process.exit(2);
  }
  try {
    await compileShim(sources, archive, flags);
  } catch (error) {
    console.error(error.stderr || `error: ${error.message}`);
    process.exit(1);
  }
}
