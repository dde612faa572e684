// The test's input as a buffered stream (tree_input.js brings the bytes).
#ifndef TREE_INPUT_H
#define TREE_INPUT_H

#include <stddef.h>

size_t tree_input_read(char *to, size_t length);

static struct {
  char bytes[1 << 18];
  size_t at, end;
} tree_input;

// The next bytes of the input, up to `most` of them; *have is 0 at the end.
static inline const char *input_some(size_t most, size_t *have) {
  if (tree_input.at == tree_input.end) {
    tree_input.end = tree_input_read(tree_input.bytes, sizeof tree_input.bytes);
    tree_input.at = 0;
  }
  const char *from = tree_input.bytes + tree_input.at;
  *have = tree_input.end - tree_input.at;
  if (*have > most) *have = most;
  tree_input.at += *have;
  return from;
}

#endif
