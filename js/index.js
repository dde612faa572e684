// SABFS for JavaScript on a page, in a worker and in Node: `import { SABFS } from './index.js'`. docs/page.md explains it.
//
// The file system is the module page.wasm, made of the same Rust core as everything else; stores, keepers and watchers are
// what emscripten/ has for programs. This file is put together by scripts/lib/bundle.mjs.
{{{ sabfs:include js/errors.js }}}
{{{ sabfs:include js/host.js }}}
{{{ sabfs:include js/native.js }}}
{{{ sabfs:include js/locks.js }}}
{{{ sabfs:include js/xattr.js }}}
{{{ sabfs:include js/steps.js }}}
{{{ sabfs:include js/watcher.js }}}
{{{ sabfs:include js/files.js }}}
{{{ sabfs:include js/sabfs.js }}}
export { SABFS, SABFSError };
