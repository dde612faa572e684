// Browsers consist of many processes. These functions find all of them and end them at one stroke, as a power cut
// would. Linux only (they read /proc).
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

function processes() {
  const list = [];
  for (const entry of fs.readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = fs.readFileSync(`/proc/${entry}/stat`, 'latin1');
      // The second field is the name in parentheses, which may hold spaces and parentheses itself.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (fields[0] === 'Z') continue;
      const command = fs.readFileSync(`/proc/${entry}/cmdline`, 'latin1');
      list.push({ pid: Number(entry), parent: Number(fields[1]), group: Number(fields[2]), command });
    } catch {
      // It ended meanwhile.
    }
  }
  return list;
}

/** The process, its descendants, its process group, and what else names `mark` (a profile's path) in its command. */
export function family(pid, mark) {
  const all = processes();
  const found = new Set([pid]);
  for (let grown = true; grown; ) {
    grown = false;
    for (const p of all) {
      if (found.has(p.pid) || p.pid === process.pid) continue;
      if (found.has(p.parent) || p.group === pid || (mark && p.command.includes(mark))) {
        found.add(p.pid);
        grown = true;
      }
    }
  }
  return [...found].filter((id) => all.some((p) => p.pid === id));
}

function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** Kills the whole family and waits until nothing of it is left. */
export async function killFamily(pid, mark, timeout = 10_000) {
  const end = Date.now() + timeout;
  // Again, as a process may have started another one between the look and the blow.
  for (;;) {
    const members = family(pid, mark);
    if (members.length === 0) return;
    for (const member of members) signal(member, 'SIGKILL');
    if (Date.now() > end) throw new Error(`processes ${members.join(', ')} did not end`);
    await sleep(20);
  }
}

/** The same without waiting, for exit handlers. */
export function killFamilyNow(pid, mark) {
  for (const member of family(pid, mark)) signal(member, 'SIGKILL');
}
