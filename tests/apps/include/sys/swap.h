// Linux has this header, Emscripten has not; nothing that is built here uses what it declares.
