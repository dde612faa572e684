// How full the volume is, and how far it is on the device.
import { count, element, size } from './format.js';

const BLOCK = 4096;

export class VolumeView {
  #fields = {};

  /** volume: what Module.mountSABFS() gives. chip: the element that says `durable`. */
  constructor(root, chip, volume) {
    this.volume = volume;
    this.chip = chip;
    this.amount = element('div', 'amount');
    this.meter = element('i');
    const list = element('dl');
    for (const [name, title] of [
      ['Free', 'room within the capacity'],
      ['Image', 'the size of the image so far: it grows on demand, up to the capacity'],
      ['Commits', 'that were made durable since the page started'],
      ['Written', 'to the device since then, journal and image'],
      ['Flushes', 'of the device since then'],
      ['Waiting', 'changed blocks that are not on the device yet'],
    ]) {
      this.#fields[name] = element('dd', '', '–');
      const row = element('div', '', element('dt', '', name), this.#fields[name]);
      row.title = title;
      list.append(row);
    }
    root.replaceChildren(this.amount, element('div', 'meter', this.meter), list);
    this.refresh();
    this.timer = setInterval(() => this.refresh(), 250);
  }

  refresh() {
    let stats;
    try {
      stats = this.volume.stats();
    } catch (error) {
      clearInterval(this.timer);
      this.#chip('bad', error.message);
      return;
    }
    const { sizeBytes, freeBytes, capacityBytes, dirtyBlocks } = stats;
    const { commits, blocksWritten, flushes, durable } = stats;
    // Free is what can still be written, partly by letting the image grow.
    const used = Math.max(0, capacityBytes - freeBytes);
    this.amount.replaceChildren(size(used), element('small', '', ` of ${size(capacityBytes)}`));
    this.meter.style.width = `${(100 * used) / capacityBytes}%`;
    this.#set('Free', size(freeBytes));
    this.#set('Image', size(sizeBytes));
    this.#set('Commits', count(commits));
    this.#set('Written', size(blocksWritten * BLOCK));
    this.#set('Flushes', count(flushes));
    this.#set('Waiting', `${count(dirtyBlocks)} ${dirtyBlocks === 1 ? 'block' : 'blocks'}`);
    if (durable) this.#chip('good', 'durable');
    else this.#chip('busy', 'not durable yet');
  }

  #set(name, text) {
    const field = this.#fields[name];
    if (field.textContent !== text) field.textContent = text;
  }

  #chip(state, text) {
    this.chip.className = `chip ${state}`;
    this.chip.textContent = text;
  }
}
