// What the library does not work with, said before anything is linked: a condition of Emscripten's preprocessor and a sentence
// each. emscripten/link/flags.mjs takes them from here, for the port. docs/linking.md has the reasons.
#if !WASMFS
#error SABFS is a backend of WasmFS: link with -sWASMFS
#endif
#if MEMORY64
#error SABFS is for wasm32: Rust has no target for programs with -sMEMORY64
#endif
#if LTO
#error SABFS does not work with -flto: the wrapped calls would not be called
#endif
#if SIDE_MODULE
#error SABFS belongs to the main program: link side modules without it
#endif
#if MINIMAL_RUNTIME
#error SABFS mounts as a run dependency, which -sMINIMAL_RUNTIME has not
#endif
#if WASM_WORKERS
#error SABFS knows the threads of -pthread, not those of -sWASM_WORKERS
#endif
#if STANDALONE_WASM
#error SABFS has a part in JavaScript, which -sSTANDALONE_WASM leaves out
#endif
#if WASM2JS
#error SABFS needs WebAssembly: link without -sWASM=0
#endif
#if MAIN_MODULE
#error SABFS does not work with -sMAIN_MODULE: its archives are not made for dynamic linking
#endif
