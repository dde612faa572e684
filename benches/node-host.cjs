// One program (bench.c) in a process of Node's, which hosts.mjs tells what to measure: node-host.cjs PROGRAM SETTINGS.
const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');
const vm = require('node:vm');

const [program, settings] = process.argv.slice(2);
const given = JSON.parse(settings);
let steps = [];
let output = '';
const failed = (error) => process.send({ error: `${error}\n${output}` }, () => process.exit(1));

process.on('uncaughtException', failed);
process.on('unhandledRejection', failed);
process.on('message', ({ step, threads, batch_ms }) => Module._bench_start(steps.indexOf(step), threads, batch_ms));

globalThis.Module = {
  ...given.module,
  arguments: given.args,
  print: (text) => { output += `${text}\n`; },
  printErr: (text) => { output += `${text}\n`; },
  benchReady: (list) => {
    steps = list.split(' ');
    process.send({ result: list });
  },
  benchResult: (ns) => process.send({ result: ns }),
  onAbort: failed,
};
// As tests/harness/program-main.cjs does: in the global scope the program takes the Module that is there.
Object.assign(globalThis, { require: createRequire(program), __filename: program, __dirname: path.dirname(program) });
process.argv = [process.argv[0], program, ...given.args];
vm.runInThisContext(fs.readFileSync(program, 'utf8'), {
  filename: program,
  importModuleDynamically: vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER,
});
