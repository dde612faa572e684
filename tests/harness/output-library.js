// For `emcc --js-library`: a thread hands each line of output to the main thread and waits until it has it.
//
// Emscripten's own way posts a message, and a program's exit, which reaches the main thread on another way, may
// overtake it and drop it. Without threads this changes nothing.
addToLibrary({
  emscripten_out__proxy: 'sync',
  emscripten_out__deps: ['$UTF8ToString'],
  emscripten_out: (text) => out(UTF8ToString(text)),

  emscripten_err__proxy: 'sync',
  emscripten_err__deps: ['$UTF8ToString'],
  emscripten_err: (text) => err(UTF8ToString(text)),
});
