// For `emcc --js-library`: how kill_load.c says a line. Runs in the thread that calls.
addToLibrary({
  // In a page: returns when the test's server has answered, so that nothing that comes after can take the line back. The
  // console is too late for that. In Node the line is in a pipe when it was printed, and there is nothing to do.
  kill_say__deps: ['$UTF8ToString'],
  kill_say: (volume, line) => {
    if (ENVIRONMENT_IS_NODE) return;
    var request = new XMLHttpRequest();
    request.open('POST', new URL('/said?' + UTF8ToString(volume), location.href).href, false);
    request.send(UTF8ToString(line));
    if (request.status != 204) throw new Error('the test does not listen: ' + request.status);
  },
});
