// What was acknowledged, and whether it is there.
import assert from 'node:assert';

/** What has to be found on the volume after the power has failed. */
export class Ledger {
  // By kind and place ("counter 0", "slot 1 17"): the last number that was acknowledged or found.
  #numbers = new Map();
  // By process: the last mail that was delivered and the last that was deleted, of the last round with a load.
  #spools = new Map();
  // The mails as they were found, when nothing has been delivered since.
  #exactly;
  // The slots that were a mixture when they were last looked at, with the newest number in them.
  #mixed = new Map();
  #overwrites = false;
  acknowledged = 0;
  /** So many slots were found half overwritten where that may be. */
  mixtures = 0;
  /** The last round that came to its load: its mails are to be looked for. */
  last = 0;

  /**
   * A load has begun: there is a new spool. If more than 1 MiB may be overwritten between two commits (`overwrites`), what
   * was being overwritten when the power failed may be a mixture of old and new.
   */
  begin(round, overwrites) {
    this.last = round;
    this.#overwrites = overwrites;
    this.#spools.clear();
    this.#exactly = undefined;
  }

  /** Takes an acknowledgement; whether it was one. */
  acknowledge(line) {
    const [kind, ...words] = line.split(' ');
    const number = Number(words.pop());
    const place = words.join(' ');
    if (kind === 'mail' || kind === 'gone') {
      const spool = this.#spools.get(place) ?? { mail: -1, gone: -2 };
      this.#spools.set(place, { ...spool, [kind]: number });
    } else if (kind === 'counter' || kind === 'log' || kind === 'slot') this.#numbers.set(`${kind} ${place}`, number);
    else return false;
    this.acknowledged++;
    return true;
  }

  /** Judges what the guest found, lines without "found"; gives complaints. What was found must be there from now on. */
  judge(lines) {
    const complaints = [];
    const mails = new Set();
    const numbers = new Map(), mixed = new Map();
    for (const line of lines) {
      const [kind, ...words] = line.split(' ');
      if (kind === 'mail') mails.add(words.join(' '));
      else if (kind === 'mixed') mixed.set(`slot ${words.slice(0, -1).join(' ')}`, Number(words.at(-1)));
      else numbers.set(`${kind} ${words.slice(0, -1).join(' ')}`, Number(words.at(-1)));
    }
    assert(numbers.size > 0, 'the guest has not told what it found');
    for (const [place, number] of this.#numbers) {
      const found = numbers.get(place);
      if (!(found >= number)) complaints.push(`${place}: ${number} was acknowledged, ${found} is there`);
    }
    for (const [place, newest] of mixed) {
      if (this.#mixed.get(place) === newest) continue;
      if (this.#numbers.get(place) >= newest) complaints.push(`${place}: ${newest} was acknowledged, and is only partly there`);
      else if (!this.#overwrites) complaints.push(`${place}: a mixture of ${newest} and older ones, though little was overwritten`);
      else this.mixtures++;
    }
    this.#mixed = mixed;
    this.#numbers = numbers;
    if (this.#exactly) {
      for (const mail of difference(this.#exactly, mails))
        complaints.push(`mail ${mail} has come or gone though nobody did anything`);
    } else for (const [id, spool] of this.#spools) complaints.push(...judgeSpool(id, spool, mails));
    this.#exactly = mails;
    return complaints;
  }
}

// Mails of one process are delivered in turn; number n is deleted, if even, when n + 1 has been delivered.
function judgeSpool(id, { mail: delivered, gone }, mails) {
  const complaints = [];
  for (let number = 0; number <= delivered; number++) {
    const found = mails.has(`${id} ${number}`);
    if (number % 2 === 0 && number <= gone) {
      if (found) complaints.push(`mail ${id} ${number}: its deletion was acknowledged, and it is there`);
      continue;
    }
    // The deletion may have been done, but then the next one was there before.
    const mayBeDeleted = number % 2 === 0 && number + 1 >= delivered && mails.has(`${id} ${number + 1}`);
    if (!found && !mayBeDeleted) complaints.push(`mail ${id} ${number}: it was acknowledged and is missing`);
  }
  return complaints;
}

const difference = (a, b) => [...a].filter((one) => !b.has(one)).concat([...b].filter((one) => !a.has(one)));
