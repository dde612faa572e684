// For `emcc --js-library`: the way from the program to the page.
addToLibrary({
  demo_send__proxy: 'sync',
  demo_send__deps: ['$UTF8ToString'],
  demo_send: (message) => Module['onMessage'](JSON.parse(UTF8ToString(message))),
});
