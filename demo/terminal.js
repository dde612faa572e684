// The shell's screen and keyboard. Lines go to the program one at a time, when it asks for one; what is typed or pasted
// meanwhile waits here.
import { count, element, milliseconds } from './format.js';

const HISTORY = 'sabfs-demo-history';
const MOST_ENTRIES = 400;

export class Terminal {
  #root;
  #log = element('div', 'log');
  #form = element('form');
  #prompt = element('span', 'prompt', '…');
  #input = element('textarea');
  #waiting = [];
  #history = load();
  #place = this.#history.length;
  #draft = '';
  #progress;
  #ready = false;

  /** send(line): to the program. interrupt(): Ctrl-C. */
  constructor(root, { send, interrupt }) {
    this.#root = root;
    this.send = send;
    this.interrupt = interrupt;
    Object.assign(this.#input, { rows: 1, spellcheck: false, autocapitalize: 'off', autocomplete: 'off' });
    this.#input.setAttribute('aria-label', 'SQL or a command');
    this.#log.setAttribute('role', 'log');
    this.#form.append(this.#prompt, this.#input);
    root.append(this.#log, this.#form);
    root.classList.add('busy');
    this.#input.addEventListener('keydown', (event) => this.#key(event));
    this.#input.addEventListener('input', () => this.#fit());
    this.#form.addEventListener('submit', (event) => event.preventDefault());
    // A click anywhere goes to the line, unless text was selected.
    root.addEventListener('click', () => String(getSelection()) === '' && this.focus());
  }

  focus() {
    this.#input.focus({ preventScroll: true });
  }

  set placeholder(text) {
    this.#input.placeholder = text;
  }

  get busy() {
    return !this.#ready || this.#waiting.length > 0;
  }

  /** Types a text and enters it, as a user would. */
  enter(text) {
    for (const line of text.split('\n')) this.#waiting.push(line);
    this.#next();
  }

  /** Shows a line of a kind: note, good, error, text, help. */
  say(kind, text) {
    return this.#add(element('p', `entry ${kind}`, text));
  }

  showTable({ columns, rows, count: total }) {
    const table = element('table');
    const kinds = columns.map((_, i) => rows.some((row) => /^[if]/.test(row[i])));
    const head = element('tr', '', ...columns.map((name, i) => element('th', kinds[i] ? 'number' : '', name)));
    const body = rows.map((row) => element('tr', '', ...row.map(cell)));
    table.append(element('thead', '', head), element('tbody', '', ...body));
    if (rows.length) this.#add(element('div', 'result', table));
    const shown = rows.length < total ? `, of which ${count(rows.length)} are shown` : '';
    this.say('timing', `${rowCount(total)}${shown}`);
  }

  showProgress({ run, done, of, rows }) {
    this.#progress ??= this.#add(element('div', 'progress', element('i'), element('span')));
    const [bar, text] = this.#progress.children;
    bar.style.setProperty('--part', `${(100 * done) / of}%`);
    text.textContent = `run ${run}: transaction ${done} of ${of} is durable (${rows} rows each)`;
    this.#scroll();
  }

  /** The program asks for a line. */
  showPrompt({ more, ms, changes }) {
    this.#progress = undefined;
    if (ms > 0) this.#sayTime(ms, changes);
    this.#prompt.textContent = more ? '   ...> ' : 'sqlite> ';
    this.#ready = true;
    this.#root.classList.remove('busy');
    this.#next();
    this.#scroll();
  }

  // On the line that tells how many rows a query gave, if there is one.
  #sayTime(ms, changes) {
    const text = `${changes ? `${rowCount(changes)} changed · ` : ''}${milliseconds(ms)}`;
    const last = this.#log.lastElementChild;
    if (last?.matches('.error, .help')) return;
    if (last?.classList.contains('timing')) last.textContent += ` · ${text}`;
    else this.say('timing', text);
  }

  clear() {
    this.#log.replaceChildren();
  }

  #next() {
    if (!this.#ready || this.#waiting.length === 0) return;
    const line = this.#waiting.shift();
    this.#echo(line);
    if (line.trim() === '.clear') {
      this.clear();
      this.#next();
      return;
    }
    this.#ready = false;
    this.#root.classList.add('busy');
    this.send(line);
  }

  // A line as it was typed, behind the prompt.
  #echo(line) {
    const prompt = this.#prompt.textContent;
    const more = prompt.startsWith(' ') ? ' more' : '';
    this.#add(element('p', `entry typed${more}`, element('b', '', prompt), line));
    this.#scroll(true);
  }

  #add(entry) {
    this.#log.append(entry);
    while (this.#log.childElementCount > MOST_ENTRIES) this.#log.firstElementChild.remove();
    this.#scroll();
    return entry;
  }

  // Follows the end unless the user has scrolled up to read.
  #scroll(always = false) {
    const { scrollHeight, scrollTop, clientHeight } = this.#root;
    if (always || scrollHeight - scrollTop - clientHeight < 600) this.#root.scrollTop = scrollHeight;
  }

  // Browsers without `field-sizing` need help with the height.
  #fit() {
    this.#input.rows = this.#input.value.split('\n').length;
  }

  #set(text) {
    this.#input.value = text;
    this.#fit();
    this.#input.setSelectionRange(text.length, text.length);
  }

  #key(event) {
    const { key, ctrlKey, shiftKey, isComposing } = event;
    const { value, selectionStart, selectionEnd } = this.#input;
    if (isComposing) return;
    if (key === 'Enter' && !shiftKey) {
      if (value.trim()) remember(this.#history, value);
      this.#place = this.#history.length;
      this.enter(value);
      this.#set('');
    } else if (key === 'ArrowUp' && !value.slice(0, selectionStart).includes('\n')) {
      this.#recall(-1);
    } else if (key === 'ArrowDown' && !value.slice(selectionEnd).includes('\n')) {
      this.#recall(1);
    } else if (ctrlKey && key === 'c' && selectionStart === selectionEnd && String(getSelection()) === '') {
      this.#waiting.length = 0;
      if (this.#ready) {
        this.#echo(`${value}^C`);
        this.send('\x03');
      } else {
        this.interrupt();
      }
      this.#set('');
    } else if (ctrlKey && key === 'l') {
      this.clear();
    } else if (ctrlKey && key === 'u') {
      this.#set('');
    } else if (key === 'Escape') {
      this.#input.blur();
      return;
    } else {
      return;
    }
    event.preventDefault();
    this.#scroll(true);
  }

  #recall(step) {
    if (this.#place === this.#history.length) this.#draft = this.#input.value;
    this.#place = Math.min(this.#history.length, Math.max(0, this.#place + step));
    this.#set(this.#history[this.#place] ?? this.#draft);
  }
}

// The first character tells the type (demo/program/shell.c).
function cell(value) {
  const [kind, text] = [value[0], value.slice(1)];
  if (kind === 'n') return element('td', 'null', 'null');
  if (kind === 'b') return element('td', 'null', `blob, ${text} bytes`);
  return element('td', kind === 't' ? '' : 'number', text);
}

const rowCount = (number) => `${count(number)} ${number === 1 ? 'row' : 'rows'}`;

function load() {
  try {
    return JSON.parse(localStorage.getItem(HISTORY)) ?? [];
  } catch {
    return [];
  }
}

function remember(history, text) {
  if (history.at(-1) !== text) history.push(text);
  try {
    localStorage.setItem(HISTORY, JSON.stringify(history.slice(-200)));
  } catch {
    // Without storage the history lasts as long as the page.
  }
}
