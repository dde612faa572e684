// For `emcc --js-library`: the test's input (Module.testInput, a Uint8Array) as a stream for a C program, on whichever
// thread it runs. It is not a file, so that nothing but the program's own output is in the file system.
addToLibrary({
  // The number of bytes copied to `address`, 0 at the end.
  tree_input_read__proxy: 'sync',
  tree_input_read: (address, length) => {
    const at = Module['testInputAt'] ?? 0;
    const part = Module['testInput'].subarray(at, at + length);
    HEAPU8.set(part, address);
    Module['testInputAt'] = at + part.length;
    return part.length;
  },
});
