// A worker, of Node or of a browser, with a program (lock_calls.c, between_calls.c) that does what it is told. The first message starts it:
// {program, sabfs}; each other one is a call, {call, name, arguments}, and gets {call, result}, or {call, error}.
const isNode = typeof process === 'object' && !!process.versions?.node;
const port = isNode ? process.getBuiltinModule('node:worker_threads').parentPort : globalThis;
let module = null;

async function serve({ program, sabfs, call, name, arguments: given }) {
  try {
    let result = 0;
    if (program) {
      const { default: make } = await import(program);
      module = await make({ sabfs });
    } else {
      const type = name.endsWith('_text') ? 'string' : 'number';
      result = module.ccall(name, type, given.map((value) => (typeof value === 'string' ? 'string' : 'number')), given);
    }
    port.postMessage({ call, result });
  } catch (error) {
    port.postMessage({ call, error: String(error?.stack ?? error) });
  }
}

if (isNode) port.on('message', serve);
else port.onmessage = ({ data }) => serve(data);
