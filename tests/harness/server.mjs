// A static server for tests and for the demo. By default its pages are cross-origin isolated (COOP and COEP), which
// is what lets them have a SharedArrayBuffer.
//
// usage: node server.mjs [--port N] [--no-isolation] FOLDER…
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const TYPES = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
};

// A page with nothing in it, for tests that bring their own script.
const BLANK = '<!doctype html><meta charset="utf-8"><title>sabfs</title>';

/**
 * Starts a server on the loopback interface.
 *
 * roots: folders that are looked through in this order; a path ending in `/` means its index.html.
 * routes: {path: {type, body}}, for files that are made up by a test. `/blank.html` is always there.
 * posts: {path: function}, called (and awaited) with the body of a POST to that path, a Buffer, and the address (URL).
 * isolate: whether the isolation headers are sent. csp: the value of a Content-Security-Policy header.
 *
 * Resolves with {url, port, idle(), close()}; url has no slash at the end. idle() resolves when no connection is open any
 * more, as after a browser was killed: then all that had left it has been read.
 */
export async function serve({ roots, routes = {}, posts = {}, port = 0, isolate = true, csp = '', headers = {} }) {
  const folders = roots.map((root) => fs.realpathSync(root));

  const server = http.createServer((request, response) => {
    // Nothing is ever cached: a test run must not see the last run's programs.
    response.setHeader('Cache-Control', 'no-store');
    if (isolate) {
      response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
      response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
      response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
    }
    if (csp) response.setHeader('Content-Security-Policy', csp);
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);

    let url, name;
    try {
      url = new URL(request.url, 'http://localhost');
      name = decodeURIComponent(url.pathname);
    } catch {
      return refuse(response, 400);
    }
    if (request.method === 'POST' && posts[name]) return take(request, response, (body) => posts[name](body, url));
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405);
    if (name.endsWith('/')) name += 'index.html';
    const route = routes[name] ?? (name === '/blank.html' ? { type: TYPES['.html'], body: BLANK } : undefined);
    if (route) {
      response.setHeader('Content-Type', route.type);
      return response.end(request.method === 'HEAD' ? undefined : route.body);
    }
    const file = find(folders, name);
    if (!file) {
      // Browsers ask for it unbidden; a 404 would only be noise in a test's console.
      if (name !== '/favicon.ico') return refuse(response, 404);
      response.statusCode = 204;
      return response.end();
    }
    response.setHeader('Content-Type', TYPES[path.extname(file)] ?? 'application/octet-stream');
    response.setHeader('Content-Length', fs.statSync(file).size);
    if (request.method === 'HEAD') return response.end();
    fs.createReadStream(file).on('error', () => response.destroy()).pipe(response);
  });

  // A browser may use a connection again at the moment when the server gives it up, and not try another one.
  server.keepAliveTimeout = 120_000;
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  const actual = server.address().port;
  return {
    port: actual,
    url: `http://127.0.0.1:${actual}`,
    async idle() {
      const connections = () => new Promise((resolve, reject) => {
        server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
      });
      while (await connections()) await sleep(5);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}

async function take(request, response, receive) {
  const parts = [];
  try {
    for await (const part of request) parts.push(part);
  } catch {
    // Whoever sent it has ended in the middle.
    return request.destroy();
  }
  try {
    await receive(Buffer.concat(parts));
    response.statusCode = 204;
    response.end();
  } catch (error) {
    console.error(error);
    refuse(response, 500);
  }
}

function refuse(response, status) {
  response.statusCode = status;
  response.setHeader('Content-Type', 'text/plain');
  response.end(`${status} ${http.STATUS_CODES[status]}\n`);
}

// The first root that has the file. Symbolic links may not lead out of the root either.
function find(folders, name) {
  for (const folder of folders) {
    let file;
    try {
      file = fs.realpathSync(path.join(folder, name));
    } catch {
      continue;
    }
    if (file.startsWith(folder + path.sep) && fs.statSync(file).isFile()) return file;
  }
  return undefined;
}

async function main(args) {
  const options = { roots: [], port: 8080 };
  while (args.length) {
    const arg = args.shift();
    if (arg === '--port') options.port = Number(args.shift());
    else if (arg === '--no-isolation') options.isolate = false;
    else options.roots.push(arg);
  }
  try {
    const { url } = await serve(options);
    console.log(`${url}/`);
  } catch (error) {
    if (error.code !== 'EADDRINUSE') throw error;
    console.error(`error: port ${options.port} is taken\n  try: another one with --port`);
    process.exit(1);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
