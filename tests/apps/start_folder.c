// Linked beside a real program: it starts in /opfs, as if a shell had changed to that folder.
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void start_folder(void) {
  if (chdir("/opfs") == 0) return;
  perror("/opfs");
  abort();
}
