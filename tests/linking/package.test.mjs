// The npm package on a machine without Rust: it is packed, installed into an empty project, and programs are linked from there,
// by the port, by CMake, and by what `sabfs-link` makes.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { attempt, buildByCmake, dist, judge, lacks, link, root, run, temporary } from './link.mjs';

const node = process.env.SABFS_NODE ?? process.execPath;
const skip = lacks('emcc', 'npm');

// PATH without the folders that have Rust's tools, and with their other commands.
function withoutRust(folder) {
  const rust = ['cargo', 'rustc', 'rustup'];
  const has = (dir) => rust.some((name) => fs.existsSync(path.join(dir, name)));
  const kept = process.env.PATH.split(path.delimiter).filter((dir) => dir && !has(dir));
  const others = path.join(folder, 'bin');
  fs.mkdirSync(others);
  for (const dir of process.env.PATH.split(path.delimiter).filter((dir) => dir && has(dir))) {
    for (const name of fs.readdirSync(dir)) {
      const link = path.join(others, name);
      if (!/^(cargo|rust|clippy|miri)/.test(name) && !fs.existsSync(link)) fs.symlinkSync(path.join(dir, name), link);
    }
  }
  fs.symlinkSync(node, path.join(others, 'node'));
  return { PATH: [others, ...kept].join(path.delimiter) };
}

test('the package', { skip }, async (t) => {
  const folder = temporary(t);
  const project = path.join(folder, 'project');
  const library = path.join(project, 'node_modules/sabfs');
  const env = withoutRust(folder);

  await t.test('is installed where no Rust is', async () => {
    for (const name of ['cargo', 'rustc']) {
      assert.notEqual((await attempt('sh', ['-c', `command -v ${name}`], { env })).code, 0, `${name} is on PATH`);
    }
    const { version } = JSON.parse(fs.readFileSync(path.join(root, 'js/package.json'), 'utf8'));
    fs.mkdirSync(project);
    fs.writeFileSync(path.join(project, 'package.json'), '{"private": true, "type": "module"}\n');
    const arguments_ = ['install', '--offline', '--no-audit', '--no-fund', path.join(dist, `sabfs-${version}.tgz`)];
    await run('npm', arguments_, { cwd: project, env });
    const files = fs.readdirSync(library, { recursive: true }).filter((name) => /\.rs$|Cargo/.test(name));
    assert.deepEqual(files, [], 'no Rust source');
    for (const name of ['lib/libsabfs.a', 'lib/libsabfs-mt.a', 'shim/sabfs_backend.cpp', 'sabfs.py', 'keeper.js', 'LICENSE-MIT']) {
      assert.ok(fs.existsSync(path.join(library, name)), name);
    }
    assert.ok(!fs.existsSync(path.join(library, 'sabfs.rsp')), 'nothing names a folder of another machine');
  });

  await t.test('gives pages and Node their module', async () => {
    const script = `import { SABFS } from 'sabfs';
      const volume = await SABFS.create({ capacity: 16 << 20, durability: 'memory' });
      volume.writeFile('/a', 'text');
      console.log(volume.readFile('/a', 'utf8'));`;
    fs.writeFileSync(path.join(project, 'page.js'), script);
    const { stdout } = await run(node, ['page.js'], { cwd: project, env });
    assert.equal(stdout, 'text\n');
  });

  for (const threads of [false, true]) {
    await t.test(`by the port, with${threads ? '' : 'out'} threads`, async (t) => {
      const flags = ['-O1', ...(threads ? ['-sPROXY_TO_PTHREAD'] : [])];
      await judge(await link(temporary(t), { library, way: 'port', threads, flags, env }));
    });
  }

  await t.test('by CMake', { skip: lacks('emcmake', 'cmake', 'make') }, async (t) => {
    const folder = temporary(t);
    await buildByCmake(folder, { library, env, targets: ['with-sabfs-st'] });
    await judge(path.join(folder, 'sabfs-st/with-sabfs-st.js'));
  });

  await t.test('by the response file that sabfs-link makes', async (t) => {
    await run(path.join(project, 'node_modules/.bin/sabfs-link'), [], { cwd: project, env });
    assert.ok(fs.existsSync(path.join(library, 'lib/pkgconfig/sabfs.pc')));
    await judge(await link(temporary(t), { library, way: 'rsp', flags: ['-O1'], env }));
  });
});
