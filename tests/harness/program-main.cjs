// Starts an Emscripten program in Node with a Module made before it; run-program.mjs calls it with a JSON argument
// {program, args, module, prepare}.
//
// A program required in the ordinary way has a `Module` of its own, which hides a global one. As a script in the
// global scope it takes the one that is there. Its threads load the file in the ordinary way.
const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');
const { pathToFileURL } = require('node:url');
const vm = require('node:vm');

// Emscripten's own writes to a pipe once, and fails or drops a part when that is full.
function writer(fd) {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  return (...parts) => {
    let bytes = Buffer.from(`${parts.join(' ')}\n`);
    while (bytes.length > 0) {
      try {
        bytes = bytes.subarray(fs.writeSync(fd, bytes));
      } catch (error) {
        if (error.code !== 'EAGAIN') throw error;
        Atomics.wait(clock, 0, 0, 5);
      }
    }
  };
}

async function main() {
  const { program, args, module: settings = {}, prepare } = JSON.parse(process.argv[2]);
  globalThis.Module = { print: writer(1), printErr: writer(2), ...settings, arguments: args };
  if (prepare) await (await import(pathToFileURL(path.resolve(prepare)))).default(globalThis.Module);
  Object.assign(globalThis, {
    require: createRequire(program),
    __filename: program,
    __dirname: path.dirname(program),
  });
  process.argv = [process.argv[0], program, ...args];
  vm.runInThisContext(fs.readFileSync(program, 'utf8'), {
    filename: program,
    importModuleDynamically: vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
}

main().catch((error) => {
  console.error(error);
  process.exit(70);
});
