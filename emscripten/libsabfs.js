// SABFS for Emscripten programs: `emcc --js-library libsabfs.js`. docs/attach.md says how it works.
{{{ sabfs:include emscripten/limits.js }}}
{{{ sabfs:include emscripten/errors.js }}}
{{{ sabfs:include emscripten/store.js }}}
{{{ sabfs:include emscripten/patience.js }}}
{{{ sabfs:include emscripten/options.js }}}
{{{ sabfs:include emscripten/start.js }}}
{{{ sabfs:include emscripten/standby.js }}}
{{{ sabfs:include emscripten/remote.js }}}
{{{ sabfs:include emscripten/own.js }}}
{{{ sabfs:include emscripten/persist.js }}}
{{{ sabfs:include emscripten/clients.js }}}
{{{ sabfs:include emscripten/locks.js }}}
{{{ sabfs:include emscripten/mount.js }}}
