// Runs one program in a dedicated worker; program.html starts it. The page gets every line and how the program ended.
onmessage = ({ data: { url, args, module } }) => {
  const tell = (what, text) => postMessage({ what, text: String(text) });
  self.Module = {
    ...module,
    arguments: args,
    // The program looks beside this script otherwise.
    locateFile: (name) => new URL(name, new URL(url, location.href)).href,
    print: (text) => tell('print', text),
    printErr: (text) => tell('printErr', text),
    onExit: (code) => postMessage({ what: 'exit', code }),
    onAbort: (reason) => tell('abort', reason),
  };
  const failed = (error) => {
    tell('printErr', `uncaught: ${error?.message ?? error}`);
    if (error?.name === 'SABFSError') postMessage({ what: 'exit', code: 'refused' });
  };
  addEventListener('error', (event) => failed(event.error ?? event.message));
  addEventListener('unhandledrejection', (event) => failed(event.reason));
  importScripts(url);
};
