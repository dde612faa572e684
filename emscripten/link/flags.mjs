// What a program is linked with: the one list, from which everything is made that users name.
//
//   sabfs.rsp, sabfs-st.rsp                      emcc app.c @sabfs.rsp
//   sabfs.py                                     emcc app.c --use-port=sabfs.py
//   lib/cmake/sabfs/sabfs-config.cmake           find_package(sabfs)
//   lib/pkgconfig/sabfs.pc, sabfs-st.pc          pkg-config --libs sabfs
//
// They lie in one folder with include/, lib/, shim/ and libsabfs.js: dist/, or the npm package. What ends in `-st` is for
// programs without threads. The templates beside this file hold marks, @NAME@, for what stands here.
//
// Three lists are taken from where they are true: the wrapped calls from the shim that defines them, the versions from its
// header, the settings that are refused from the JavaScript library.
//
// usage: node flags.mjs FOLDER
import fs from 'node:fs';
import path from 'node:path';

export const SETTINGS = ['WASMFS'];

/** By what a program with threads is linked differently. */
export const VARIANTS = {
  sabfs: { suffix: '-mt', compile: ['-pthread'], link: ['-pthread'], summary: 'for programs with threads' },
  // With an imported memory the store is reached without JavaScript in between.
  'sabfs-st': { suffix: '', compile: [], link: ['-sIMPORTED_MEMORY'], summary: 'for programs without threads' },
};

/** How the shim is compiled: as libwasmfs itself is. The folders of headers are relative to Emscripten's own. */
export const SHIM = {
  standard: 17,
  // The C library hides Linux's own calls without _GNU_SOURCE.
  flags: ['-O3', '-fno-exceptions', '-fno-rtti', '-D_GNU_SOURCE', '-Wall', '-Wextra'],
  // As those of a system: their warnings are not ours.
  headers: ['system/lib/wasmfs', 'system/lib/pthread'],
};

/** What holds for the files in `folder`: the list above with what is taken from the files. */
export function describe(folder) {
  const read = (name) => fs.readFileSync(path.join(folder, name), 'utf8');
  const sources = fs.readdirSync(path.join(folder, 'shim')).filter((name) => name.endsWith('.cpp')).sort();
  const calls = sources.flatMap((name) => [...read(`shim/${name}`).matchAll(/^\S+ __wrap_(\w+)\(/gm)].map(([, call]) => call));
  const wrapped = [...new Set(calls)];
  if (wrapped.length === 0) throw new Error('the shim wraps nothing');
  const version = read('shim/sabfs_version.h');
  const value = (name) => {
    const match = new RegExp(`^#define ${name} (.*)$`, 'm').exec(version);
    if (!match) throw new Error(`sabfs_version.h has no ${name}`);
    return match[1];
  };
  const dotted = (number) => [1e4, 100, 1].map((unit) => Math.floor(number / unit) % 100).join('.');
  const refused = [...read('libsabfs.js').matchAll(/^#if (.+)\n#error (SABFS.+)\n#endif$/gm)];
  if (refused.length === 0) throw new Error('libsabfs.js refuses no setting');
  return {
    version: JSON.parse(value('SABFS_VERSION')),
    emscripten: {
      first: dotted(Number(value('SABFS_EMSCRIPTEN_FIRST'))),
      end: dotted(Number(value('SABFS_EMSCRIPTEN_END'))),
    },
    sources,
    wrapped,
    refused: refused.map(([, condition, message]) => ({ condition, message })),
    linker: [
      // So that Module.sabfs works in a program that names nothing of the library.
      '--undefined=sabfs_mount',
      ...wrapped.map((name) => `--wrap=${name}`),
    ],
  };
}

/** The flags of one variant, with `root` where the folder is: a path, or what stands for it in a template. */
export function flagsOf(list, name, root) {
  const { suffix, compile, link } = VARIANTS[name];
  return {
    compile: [...compile, `-I${root}/include`],
    link: [...link, ...SETTINGS.map((setting) => `-s${setting}`), `--js-library=${root}/libsabfs.js`, ...list.linker.map((flag) => `-Wl,${flag}`)],
    archives: [`${root}/lib/libsabfs-shim${suffix}.a`, `${root}/lib/libsabfs${suffix}.a`],
  };
}

// A condition of Emscripten's JavaScript preprocessor, in Python.
function python(condition) {
  const text = condition
    .replace(/\b[A-Z][A-Z0-9_]*\b/g, 'settings.$&')
    .replaceAll('&&', 'and')
    .replaceAll('||', 'or')
    .replace(/!(?!=)/g, 'not ');
  if (!/^[\w.()'= ]+$/.test(text)) throw new Error(`a condition that Python would not understand: ${condition}`);
  return text;
}

const quoted = (flag) => (/[\s"']/.test(flag) ? `"${flag}"` : flag);

/** Writes all files into the folder. */
export function write(folder) {
  const list = describe(folder);
  const common = { VERSION: list.version, EMSCRIPTEN_FIRST: list.emscripten.first, EMSCRIPTEN_END: list.emscripten.end };
  const put = (template, output, values) => {
    const text = fs.readFileSync(path.join(import.meta.dirname, template), 'utf8').replace(/@([A-Z_]+)@/g, (mark, name) => {
      const value = { ...common, ...values }[name];
      if (value === undefined) throw new Error(`${template}: nothing is known of ${mark}`);
      return value;
    });
    const file = path.join(folder, output);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(`${file}.new`, text);
    fs.renameSync(`${file}.new`, file);
  };
  for (const [name, { summary }] of Object.entries(VARIANTS)) {
    // A response file has no way to name its own folder.
    const absolute = flagsOf(list, name, path.resolve(folder));
    put('sabfs.rsp', `${name}.rsp`, {
      FLAGS: [...absolute.compile, ...absolute.link, ...absolute.archives].map(quoted).join('\n'),
    });
    const { compile, link, archives } = flagsOf(list, name, '${prefix}');
    put('sabfs.pc', `lib/pkgconfig/${name}.pc`, {
      NAME: name, SUMMARY: summary, CFLAGS: compile.join(' '), LIBS: [...link, ...archives].join(' '),
    });
  }
  put('sabfs.py', 'sabfs.py', {
    SETTINGS: SETTINGS.map((name) => `'${name}'`).join(', '),
    SOURCES: list.sources.map((name) => `    '${name}',\n`).join(''),
    SHIM_FLAGS: [`-std=c++${SHIM.standard}`, ...SHIM.flags].map((flag) => `'${flag}'`).join(', '),
    SHIM_HEADERS: SHIM.headers.map((name) => `'${name}'`).join(', '),
    LINKER: list.linker.map((flag) => `    '${flag}',\n`).join(''),
    REFUSED: list.refused.map(({ condition, message }) => `    (lambda settings: ${python(condition)},\n     ${JSON.stringify(message)}),\n`).join(''),
  });
  const cmake = Object.entries(VARIANTS).map(([name, { suffix, compile }]) => {
    const { link } = flagsOf(list, name, '${_sabfs_root}');
    return `_sabfs_add(${name} "libsabfs${suffix}.a" "${compile.join(';')}"\n${link.map((flag) => `  "${flag}"\n`).join('')})`;
  });
  put('sabfs-config.cmake', 'lib/cmake/sabfs/sabfs-config.cmake', {
    SOURCES: list.sources.map((name) => `    "\${_sabfs_root}/shim/${name}"\n`).join(''),
    SHIM_STANDARD: SHIM.standard,
    SHIM_FLAGS: SHIM.flags.join(' '),
    SHIM_HEADERS: SHIM.headers.map((name) => `"\${EMSCRIPTEN_ROOT_PATH}/${name}"`).join(' '),
    TARGETS: cmake.join('\n'),
  });
  put('sabfs-config-version.cmake', 'lib/cmake/sabfs/sabfs-config-version.cmake', {});
}

if (fs.realpathSync(process.argv[1]) === import.meta.filename) {
  if (process.argv.length !== 3) {
    console.error('usage: node flags.mjs FOLDER');
    process.exit(2);
  }
  write(process.argv[2]);
}
