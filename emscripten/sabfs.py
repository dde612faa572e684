# SABFS as a port of Emscripten: `emcc app.c --use-port=PATH/sabfs.py`, for compiling and for linking.
# The file has to lie in the folder that scripts/build makes, beside lib/, include/ and the response files.

import os

URL = ''
DESCRIPTION = 'SABFS: a crash-consistent file system in shared memory, persisted to OPFS (WasmFS backend)'
LICENSE = 'MIT OR Apache-2.0'

FOLDER = os.path.dirname(os.path.abspath(__file__))


def linker_flags():
  # What wasm-ld has to be told; the response file is the one place where the names stand.
  with open(os.path.join(FOLDER, 'sabfs.rsp'), encoding='utf-8') as file:
    lines = file.read().split('\n')
  return [line[len('-Wl,'):] for line in lines if line.startswith('-Wl,')]


def get(ports, settings, shared):
  name = 'libsabfs-mt.a' if settings.PTHREADS else 'libsabfs.a'
  # What is given here goes to wasm-ld as it is.
  return [os.path.join(FOLDER, 'lib', name)] + linker_flags()


def linker_setup(ports, settings):
  if not settings.WASMFS:
    raise Exception('SABFS needs -sWASMFS')
  library = os.path.join(FOLDER, 'libsabfs.js')
  if library not in settings.JS_LIBRARIES:
    settings.JS_LIBRARIES.append(library)


def clear(ports, settings, shared):
  pass


def process_args(ports):
  return ['-I' + os.path.join(FOLDER, 'include')]
