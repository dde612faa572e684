// What can be missing, and what helps: one panel in place of the shell.
import { element } from './format.js';

const HEADERS = 'Cross-Origin-Opener-Policy: same-origin\nCross-Origin-Embedder-Policy: require-corp';

/** What is missing here, or undefined. */
export async function findProblem() {
  if (!window.isSecureContext) {
    return {
      title: 'This address is not secure',
      text: ['Browsers share memory with, and keep files for, secure addresses only: https, or http on localhost.'],
    };
  }
  if (!window.crossOriginIsolated) {
    return {
      title: 'The server does not isolate this page',
      text: [
        'The file system lies in a SharedArrayBuffer, which a page gets only when it is served with these headers:',
        { code: HEADERS },
        'The server that comes with the repository sends them:',
        { code: './scripts/demo' },
      ],
    };
  }
  try {
    await navigator.storage.getDirectory();
  } catch (error) {
    return {
      title: 'This browser keeps no files for this page',
      text: [
        'The volume is kept in the origin private file system (OPFS), which is not available here.',
        'In a private window that is usual: open the page in an ordinary one.',
      ],
      error,
    };
  }
  return undefined;
}

/** The panel's words for an error at the start of the program. */
export function explain(error) {
  if (error?.code === 'EBUSY') {
    return {
      title: 'The volume is open in another tab',
      text: [
        'A volume belongs to one page at a time, so that nobody writes over what somebody else has written.',
        'Close the other tab and try again.',
      ],
      error,
    };
  }
  if (error?.code === 'ENOSPC' || error?.code === 'EDQUOT') {
    return { title: 'There is no room for the volume', text: ['Free some storage of this site or this device.'], error };
  }
  if (error?.code === 'ENOMEM') {
    return {
      title: 'There is not enough memory',
      text: ['The browser did not give the memory for the volume. Close other tabs and try again.'],
      error,
    };
  }
  return { title: 'The program did not start', text: [], error };
}

/** Shows the panel. */
export function showProblem({ title, text, error }) {
  const panel = document.querySelector('#problem');
  panel.querySelector('h2').textContent = title;
  const lines = text.map((part) => (typeof part === 'string' ? element('p', '', part) : element('pre', '', part.code)));
  panel.querySelector('.text').replaceChildren(...lines);
  const details = panel.querySelector('details');
  details.hidden = error === undefined;
  details.open = text.length === 0;
  // A stack begins with the message in some browsers only.
  const said = error?.stack?.includes(error.message) ? error.stack : error;
  details.querySelector('pre').textContent = String(said ?? '');
  panel.querySelector('button').onclick = () => location.reload();
  panel.hidden = false;
  document.body.classList.add('broken');
  const state = document.querySelector('#state');
  state.className = 'chip bad';
  state.textContent = 'not running';
}
