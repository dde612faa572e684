# SABFS as a port of Emscripten: `emcc app.c --use-port=PATH/sabfs.py`, for compiling and for linking. It lies in one folder
# with include/, lib/, shim/ and libsabfs.js.
#
# WasmFS's C++ interface differs between Emscripten's versions, so the shim is compiled here, once, into Emscripten's cache.

import hashlib
import os

from tools import utils
from tools.settings import settings as _settings

URL = ''
DESCRIPTION = 'SABFS @VERSION@: a crash-consistent file system in shared memory, persisted to OPFS (WasmFS backend)'
LICENSE = 'MIT OR Apache-2.0'
OPTIONS = {
  'threads': "'auto': as -pthread says (the default); 'on': as with -pthread",
  'store': "'shared': a memory that other programs can share (the default); "
           "'own': also links for a store in the program's own memory, which grows then; without threads",
}

FOLDER = os.path.dirname(os.path.abspath(__file__))
SOURCES = [
@SOURCES@]
SHIM_FLAGS = [@SHIM_FLAGS@]
SHIM_HEADERS = [@SHIM_HEADERS@]
LINKER_FLAGS = [
@LINKER@]
REFUSED = [
@REFUSED@]

# While Emscripten reads its command line: what comes behind on it, or stands in -s, overrules this.
for _name in [@SETTINGS@]:
  setattr(_settings, _name, 1)
# With an imported memory the store is reached without JavaScript in between.
_settings.IMPORTED_MEMORY = 1
_own_store = False


def handle_options(options, error_handler):
  global _own_store
  for name, values in {'threads': ('auto', 'on'), 'store': ('shared', 'own')}.items():
    if options.get(name, values[0]) not in values:
      error_handler(f'`{name}` is one of {", ".join(values)}')
  if options.get('threads') == 'on':
    _settings.PTHREADS = 1
  if options.get('store') == 'own':
    if options.get('threads') == 'on':
      error_handler('a store in the program\'s own memory is for programs without threads')
    _own_store = True
    _settings.IMPORTED_MEMORY = 0
    _settings.ALLOW_MEMORY_GROWTH = 1


def check_version():
  version = utils.EMSCRIPTEN_VERSION if hasattr(utils, 'EMSCRIPTEN_VERSION') else _version_of_shared()
  number = [int(part) for part in version.split('-')[0].split('.')]
  if not [int(part) for part in '@EMSCRIPTEN_FIRST@'.split('.')] <= number < [int(part) for part in '@EMSCRIPTEN_END@'.split('.')]:
    utils.exit_with_error(f'SABFS needs Emscripten @EMSCRIPTEN_FIRST@ or newer, before @EMSCRIPTEN_END@; this is {version}')


def _version_of_shared():
  # Where older versions have it.
  from tools import shared
  return shared.EMSCRIPTEN_VERSION


def get(ports, settings, shared):
  check_version()
  refuse(settings, early=True)
  if _own_store and settings.PTHREADS:
    utils.exit_with_error('SABFS: store=own is for programs without threads (-pthread)')
  shim = os.path.join(FOLDER, 'shim')
  suffix = '-mt' if settings.PTHREADS else ''
  headers = [utils.path_from_root(name) for name in SHIM_HEADERS]
  include = os.path.join(FOLDER, 'include')
  flags = SHIM_FLAGS + ['-I' + include] + ['-isystem' + name for name in headers] + (['-pthread'] if settings.PTHREADS else [])
  # Emscripten compiles its libraries with -sSTRICT and -Werror, which a newer compiler's warnings must not end.
  flags += ['-Wno-error']
  # Another version of the shim, or the one of another folder, is another library.
  digest = hashlib.sha256('\0'.join(SOURCES + SHIM_FLAGS).encode())
  for name in sorted(os.listdir(shim)):
    with open(os.path.join(shim, name), 'rb') as file:
      digest.update(name.encode() + b'\0' + file.read())
  name = f'libsabfs-shim-{digest.hexdigest()[:16]}{suffix}.a'

  def create(final):
    ports.build_port(shim, final, 'sabfs', flags=flags, srcs=SOURCES)

  archive = shared.cache.get_lib(name, create, what='port')
  # What is given here goes to wasm-ld as it is.
  return [archive, os.path.join(FOLDER, 'lib', f'libsabfs{suffix}.a')] + LINKER_FLAGS


def refuse(settings, early=False):
  # While it compiles, Emscripten lets nobody look at most settings.
  for condition, message in REFUSED:
    try:
      refused = condition(settings)
    except AssertionError:
      if not early:
        raise
      refused = False
    if refused:
      utils.exit_with_error(message)


def linker_setup(ports, settings):
  refuse(settings)
  library = os.path.join(FOLDER, 'libsabfs.js')
  if library not in settings.JS_LIBRARIES:
    settings.JS_LIBRARIES.append(library)


def clear(ports, settings, shared):
  folder = os.path.dirname(shared.cache.get_lib_name('libsabfs-shim.a', absolute=True))
  for name in os.listdir(folder) if os.path.isdir(folder) else []:
    if name.startswith('libsabfs-shim-'):
      shared.cache.erase_lib(name)


def process_args(ports):
  return ['-I' + os.path.join(FOLDER, 'include')]
