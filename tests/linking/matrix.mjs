// How programs are linked, one row each: with which of Emscripten's settings, by which way. Where the level does not matter it is
// -O1, which is linked soonest. What is not a plain property is explained at `link` and `judge`. `long`: only with --long.
const MODULE = ['-sMODULARIZE', '-sEXPORT_NAME=make'];
const ES6 = ['-sMODULARIZE', '-sEXPORT_ES6'];
const PROXY = '-sPROXY_TO_PTHREAD';
const GROWTH = '-sALLOW_MEMORY_GROWTH';

export const ROWS = [
  // Levels. At -O0 Emscripten takes its libraries with assertions, libwasmfs too.
  { flags: ['-O0'], way: 'port' },
  { flags: ['-O0', PROXY], way: 'rsp', threads: true },
  { flags: ['-O1'], way: 'pkg-config', threads: true },
  { flags: ['-O2', GROWTH], way: 'rsp' },
  { flags: ['-O3', PROXY], way: 'port', threads: true },
  { flags: ['-Os'], way: 'pkg-config' },
  { flags: ['-Oz', PROXY], way: 'rsp', threads: true, long: true },
  { flags: ['-O3', GROWTH], way: 'port', long: true },
  // What finds faults.
  { flags: ['-g', PROXY], way: 'port', threads: true },
  { flags: ['-g3', '-O2'], way: 'rsp', long: true },
  { flags: ['-O1', '-sASSERTIONS=2', GROWTH], way: 'rsp' },
  { flags: ['-g', '-sASSERTIONS=2', '-sSTACK_OVERFLOW_CHECK=2'], way: 'pkg-config', threads: true },
  { flags: ['-O1', '-sSAFE_HEAP'], way: 'port' },
  { flags: ['-O1', '-sSAFE_HEAP', PROXY], way: 'rsp', threads: true, long: true },
  // Modules.
  { flags: ['-O1', ...MODULE], way: 'port', module: true },
  { flags: ['-O1', ...MODULE, PROXY], way: 'rsp', threads: true, module: true, long: true },
  { flags: ['-O1', ...ES6], way: 'rsp', threads: true, module: true, name: 'program.mjs' },
  { flags: ['-O0', ...ES6, GROWTH], way: 'pkg-config', module: true, name: 'program.mjs' },
  // Programs that can be suspended.
  { flags: ['-O1', '-sASYNCIFY'], way: 'port' },
  { flags: ['-O1', '-sASYNCIFY', PROXY], way: 'rsp', threads: true, long: true },
  // Node 22 has an older JSPI.
  { flags: ['-O1', '-sJSPI', '-Wno-experimental', GROWTH], way: 'rsp', chromium: true },
  // Exceptions.
  { flags: ['-O1', '-fwasm-exceptions'], way: 'rsp', throws: true },
  { flags: ['-O1', '-fwasm-exceptions', PROXY], way: 'port', threads: true, throws: true, long: true },
  { flags: ['-O1', '-fexceptions'], way: 'port', throws: true },
  { flags: ['-O1', '-fexceptions', PROXY], way: 'pkg-config', threads: true, throws: true, long: true },
  // Other parts of Emscripten's.
  // Each thread has a heap of its own then, more than the usual 16 MiB have room for.
  { flags: ['-O1', '-sMALLOC=mimalloc', '-sINITIAL_MEMORY=64MB', PROXY], way: 'port', threads: true },
  { flags: ['-O1', '-sMALLOC=emmalloc'], way: 'rsp', long: true },
  // The port's options.
  { flags: ['-O1', PROXY], way: 'port', options: ':threads=on', threads: true },
  { flags: ['-O1'], way: 'port', options: ':store=own', own: true },
];

/** A row's name, which says what is special about it. */
export const nameOf = ({ flags, way, threads, options = '' }) => `${way}${options}, ${threads ? '-pthread ' : ''}${flags.join(' ')}`;
