// The files below /opfs as the program sees them (demo/program/watch.c walks the tree).
import { age, count, element, size } from './format.js';

const ICONS = {
  dir: 'M1.5 12.5v-9h4l1.5 2h7.5v7z',
  file: 'M3.5 1.5h6l3 3v10h-9zM9.5 1.5v3h3',
  link: 'M6 5.5H4a2.5 2.5 0 0 0 0 5h2m4-5h2a2.5 2.5 0 0 1 0 5h-2m-5-2.5h6',
};

export class Tree {
  #rows = new Map();
  #list = element('ol');

  constructor(root, counter) {
    this.root = root;
    this.counter = counter;
    setInterval(() => this.#refreshAges(), 1000);
  }

  show({ entries, count: total }) {
    const before = this.#rows;
    this.#rows = new Map();
    const stack = [];
    const items = entries.map(([depth, name, kind, mode, bytes, modified, target]) => {
      stack.length = depth;
      stack[depth] = name;
      const path = stack.join('/');
      const old = before.get(path);
      const row = old ?? makeRow(kind, depth, name);
      row.item.className = kind;
      row.modified = modified;
      const permissions = mode.toString(8).padStart(4, '0');
      row.name.title = `${path}\nmode ${permissions}, modified ${new Date(modified).toLocaleString()}`;
      row.target.textContent = target === undefined ? '' : ` → ${target}`;
      row.size.textContent = kind === 'file' ? size(bytes) : '';
      const stamp = `${bytes} ${modified} ${target}`;
      // A change shows for a moment; on the first sight of the tree nothing has changed.
      if (before.size > 0 && row.stamp !== stamp) flash(row.item);
      row.stamp = stamp;
      this.#rows.set(path, row);
      return row.item;
    });
    this.#list.replaceChildren(...items);
    this.#refreshAges();
    const shown = total > entries.length ? `, ${count(entries.length)} shown` : '';
    this.counter.textContent = `${count(total)} ${total === 1 ? 'name' : 'names'}${shown}`;
    this.root.replaceChildren(total ? this.#list : element('span', 'empty', 'Nothing yet.'));
  }

  #refreshAges() {
    const now = Date.now();
    for (const row of this.#rows.values()) row.age.textContent = age(row.modified, now);
  }
}

function makeRow(kind, depth, name) {
  const label = element('div', 'name', name);
  const icon = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${ICONS[kind]}"/></svg>`;
  label.insertAdjacentHTML('afterbegin', icon);
  label.style.setProperty('--depth', depth);
  const row = { name: label, target: element('em'), size: element('span'), age: element('span') };
  label.append(row.target);
  row.item = element('li', kind, label, row.size, row.age);
  return row;
}

function flash(item) {
  item.classList.remove('changed');
  // Reading the layout lets the animation start anew.
  void item.offsetWidth;
  item.classList.add('changed');
}
