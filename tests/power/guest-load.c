// What works on the volume while the power fails, and how it is recognised afterwards.
//
//   counter.ID        16 digits, overwritten with the next number and fsynced
//   log.ID            lines of 32 bytes with their number, appended and fdatasynced
//   slots.ID          slots of 1,500 bytes, overwritten in place in random order; every other one lies in two blocks
//   spool.ROUND/new   mails: written in tmp, fsynced, renamed, the directory fsynced. The even ones are deleted when the next one
//                     has been delivered, and the directory fsynced again
//   bulk/             files that nobody syncs; with OVERWRITE they are overwritten, too, and not only made anew
#include "guest.h"
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

enum { SECTOR = 512, SLOT_BYTES = 1500, LINE_BYTES = 32, MAIL_MOST = 9000, BULK_FILES = 24, BULK_MOST = 200000 };

static uint64_t state;

static uint32_t random_below(uint32_t limit) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(state >> 33) % limit;
}

static uint64_t mixed(uint64_t number) {
  number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
  number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
  return number ^ (number >> 31);
}

// Bytes that tell what they belong to.
static void fill(uint8_t *bytes, size_t length, uint64_t what) {
  for (size_t i = 0; i < length; i++) bytes[i] = mixed(what * 4096 + i / 8) >> (i % 8 * 8);
}

static uint64_t mail_key(int round, int id, int number) { return 1u + ((uint64_t)round * 8 + id) * 1000003u + number; }
static size_t mail_length(uint64_t key) { return 1 + mixed(key) % MAIL_MOST; }

static void slot_content(uint8_t *bytes, int id, int slot, uint64_t value) {
  if (value == 0) {
    // It was never written.
    memset(bytes, 0, SLOT_BYTES);
    return;
  }
  fill(bytes, SLOT_BYTES, ((uint64_t)id * SLOTS + slot) * 1000003u + value);
  memcpy(bytes, &value, sizeof value);
}

// Whether each sector of a slot is of `value` or of one of the two before.
static int is_mixed(const uint8_t *found, int id, int slot, uint64_t value) {
  uint8_t wanted[SLOT_BYTES];
  long start = (long)slot * SLOT_BYTES;
  for (long from = 0, to; from < SLOT_BYTES; from = to) {
    to = from + SECTOR - (start + from) % SECTOR;
    if (to > SLOT_BYTES) to = SLOT_BYTES;
    int is_known = 0;
    for (uint64_t back = 0; back <= 2 && back <= value && !is_known; back++) {
      slot_content(wanted, id, slot, value - back);
      is_known = !memcmp(found + from, wanted + from, to - from);
    }
    if (!is_known) return 0;
  }
  return 1;
}

static int open_file(const char *name, int id, int flags) {
  char path[64];
  snprintf(path, sizeof path, ROOT "/%s.%d", name, id);
  return open(path, flags, 0644);
}

static void sync_directory(const char *path) {
  int directory = must(open(path, O_RDONLY | O_DIRECTORY), path);
  must(fsync(directory), "fsync a directory");
  close(directory);
}

// --- what is there

static size_t read_whole(int file, uint8_t *bytes, size_t most) {
  size_t length = 0;
  for (long count; length < most && (count = must(read(file, bytes + length, most - length), "read")); length += count) {}
  return length;
}

static long counter_value(int id) {
  char digits[24] = "";
  int file = open_file("counter", id, O_RDONLY);
  if (file < 0) return errno == ENOENT ? 0 : (failed("open a counter"), 0);
  size_t length = read_whole(file, (uint8_t *)digits, sizeof digits - 1);
  close(file);
  // It was made, and nothing written yet.
  if (length == 0) return 0;
  if (length != 16 || strspn(digits, "0123456789") != 16) tell("bad counter %d is torn, %zu bytes", id, length);
  return atol(digits);
}

static void log_line(char *line, int id, long number) {
  snprintf(line, LINE_BYTES + 1, "%10ld %d %018lx\n", number, id, (unsigned long)mixed(number * 8 + id) >> 4);
}

static long log_lines(int id) {
  char line[LINE_BYTES + 1], wanted[LINE_BYTES + 1];
  int file = open_file("log", id, O_RDONLY);
  if (file < 0) return errno == ENOENT ? 0 : (failed("open a log"), 0);
  long number = 0;
  for (size_t length; (length = read_whole(file, (uint8_t *)line, LINE_BYTES)) != 0; number++) {
    log_line(wanted, id, number + 1);
    if (length != LINE_BYTES || memcmp(line, wanted, LINE_BYTES)) {
      tell("bad log %d is torn in line %ld", id, number + 1);
      break;
    }
  }
  close(file);
  return number;
}

static void read_slots(int id, uint64_t values[SLOTS], int is_told) {
  static uint8_t found[SLOT_BYTES], wanted[SLOT_BYTES];
  memset(values, 0, SLOTS * sizeof *values);
  int file = open_file("slots", id, O_RDONLY);
  if (file < 0) {
    if (errno != ENOENT) failed("open slots");
    return;
  }
  for (int slot = 0; slot < SLOTS; slot++) {
    size_t length = must(pread(file, found, SLOT_BYTES, (long)slot * SLOT_BYTES), "read a slot");
    memset(found + length, 0, SLOT_BYTES - length);
    uint64_t value;
    memcpy(&value, found, sizeof value);
    slot_content(wanted, id, slot, value);
    values[slot] = value;
    if (!memcmp(found, wanted, SLOT_BYTES)) continue;
    // The first sector may be an old one.
    uint64_t newest = value + 2;
    while (newest > value && !is_mixed(found, id, slot, newest)) newest--;
    if (!is_mixed(found, id, slot, newest)) tell("bad slot %d of file %d says %lu and is garbage", slot, id, (unsigned long)value);
    else if (is_told) tell("found mixed %d %d %lu", id, slot, (unsigned long)newest);
    values[slot] = newest;
  }
  close(file);
}

static void verify_mail(const char *folder, const char *name, int round) {
  static uint8_t found[MAIL_MOST + 1], wanted[MAIL_MOST + 1];
  int id, number;
  if (sscanf(name, "%d.%d", &id, &number) != 2) {
    tell("bad there is a mail called %s", name);
    return;
  }
  char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  int file = must(open(path, O_RDONLY), "open a mail");
  size_t length = read_whole(file, found, sizeof found);
  close(file);
  uint64_t key = mail_key(round, id, number);
  fill(wanted, mail_length(key), key);
  if (length != mail_length(key) || memcmp(found, wanted, length))
    tell("bad mail %s is not what was synced, %zu bytes", name, length);
  tell("found mail %d %d", id, number);
}

static void verify_spool(int round) {
  char path[64];
  snprintf(path, sizeof path, ROOT "/spool.%d/new", round);
  DIR *folder = opendir(path);
  if (!folder) {
    if (errno != ENOENT) failed(path);
    return;
  }
  for (struct dirent *entry; (entry = readdir(folder));)
    if (entry->d_name[0] != '.') verify_mail(path, entry->d_name, round);
  closedir(folder);
}

// Nothing is known of them, but that they can be read.
static void verify_bulk(void) {
  static uint8_t bytes[BULK_MOST];
  for (int number = 0; number < BULK_FILES; number++) {
    int file = open_file("bulk/file", number, O_RDONLY);
    if (file < 0) continue;
    read_whole(file, bytes, sizeof bytes);
    close(file);
  }
}

void verify(int last) {
  for (int id = 0; id < COUNTERS; id++) tell("found counter %d %ld", id, counter_value(id));
  for (int id = 0; id < LOGS; id++) tell("found log %d %ld", id, log_lines(id));
  for (int id = 0; id < SLOT_FILES; id++) {
    uint64_t values[SLOTS];
    read_slots(id, values, 1);
    for (int slot = 0; slot < SLOTS; slot++) tell("found slot %d %d %lu", id, slot, (unsigned long)values[slot]);
  }
  verify_spool(last);
  verify_bulk();
}

// --- what is done

static void count_up(int id) {
  char digits[24];
  int file = must(open_file("counter", id, O_RDWR | O_CREAT), "open a counter");
  sync_directory(ROOT);
  for (long value = counter_value(id) + 1;; value++) {
    snprintf(digits, sizeof digits, "%016ld", value);
    must(pwrite(file, digits, 16, 0), "write a counter");
    must(fsync(file), "fsync");
    tell("counter %d %ld", id, value);
  }
}

static void append(int id) {
  char line[LINE_BYTES + 1];
  int file = must(open_file("log", id, O_WRONLY | O_CREAT | O_APPEND), "open a log");
  sync_directory(ROOT);
  for (long number = log_lines(id) + 1;; number++) {
    log_line(line, id, number);
    must(write(file, line, LINE_BYTES), "append");
    must(fdatasync(file), "fdatasync");
    tell("log %d %ld", id, number);
  }
}

static void overwrite(int id) {
  static uint8_t bytes[SLOT_BYTES];
  uint64_t values[SLOTS];
  int file = must(open_file("slots", id, O_RDWR | O_CREAT), "open slots");
  sync_directory(ROOT);
  // The kernel sends a write into two pages as two, of which a commit may take the first alone, unless it knows the pages' bytes.
  must(ftruncate(file, (long)SLOTS * SLOT_BYTES), "make room for slots");
  read_slots(id, values, 0);
  for (;;) {
    int slot = random_below(SLOTS);
    slot_content(bytes, id, slot, ++values[slot]);
    must(pwrite(file, bytes, SLOT_BYTES, (long)slot * SLOT_BYTES), "overwrite");
    must(fdatasync(file), "fdatasync");
    tell("slot %d %d %lu", id, slot, (unsigned long)values[slot]);
  }
}

static void deliver(int round, int id) {
  static uint8_t bytes[MAIL_MOST];
  char from[128], to[128], folder[64];
  snprintf(folder, sizeof folder, ROOT "/spool.%d/new", round);
  for (int number = 0;; number++) {
    snprintf(from, sizeof from, ROOT "/spool.%d/tmp/%d.%d", round, id, number);
    snprintf(to, sizeof to, "%s/%d.%d", folder, id, number);
    uint64_t key = mail_key(round, id, number);
    size_t length = mail_length(key);
    fill(bytes, length, key);
    int file = must(open(from, O_WRONLY | O_CREAT | O_EXCL, 0644), "make a mail");
    // In two parts, as programs do.
    must(write(file, bytes, length / 3), "write a mail");
    must(write(file, bytes + length / 3, length - length / 3), "write a mail");
    must(fsync(file), "fsync a mail");
    close(file);
    must(rename(from, to), "deliver a mail");
    sync_directory(folder);
    tell("mail %d %d", id, number);
    if (number % 2 == 0) continue;
    snprintf(to, sizeof to, "%s/%d.%d", folder, id, number - 1);
    must(unlink(to), "delete a mail");
    sync_directory(folder);
    tell("gone %d %d", id, number - 1);
  }
}

static void remove_spool(int round) {
  static const char *const parts[] = {"/new", "/tmp", ""};
  for (int part = 0; part < 3; part++) {
    char path[64], name[512];
    snprintf(path, sizeof path, ROOT "/spool.%d%s", round, parts[part]);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
      snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
      if (entry->d_name[0] != '.') unlink(name);
    }
    if (folder) closedir(folder);
    rmdir(path);
  }
}

static void make_bulk(int last) {
  static uint8_t bytes[BULK_MOST];
  // The last one is judged again if nobody is told of this load.
  for (int old = 0; old < last; old++) remove_spool(old);
  mkdir(ROOT "/bulk", 0755);
  for (;;) {
    int number = random_below(BULK_FILES), length = random_below(BULK_MOST);
    char from[64], to[64];
    snprintf(from, sizeof from, ROOT "/bulk/file.%d", number);
    if (!getenv("OVERWRITE")) unlink(from);
    int file = must(open(from, O_RDWR | O_CREAT, 0644), "open in bulk");
    fill(bytes, length, state);
    must(pwrite(file, bytes, length, random_below(2) * random_below(BULK_MOST)), "write in bulk");
    if (random_below(3) == 0) must(ftruncate(file, random_below(BULK_MOST)), "truncate");
    close(file);
    if (random_below(4) == 0) {
      snprintf(to, sizeof to, ROOT "/bulk/file.%d", random_below(BULK_FILES));
      must(rename(from, to), "rename in bulk");
    }
    usleep(20000);
  }
}

// Whether this is a new process, which is to do the next thing.
static int begins(unsigned long seed, int number) {
  if (must(fork(), "fork")) return 0;
  state = mixed(seed * 64 + number);
  return 1;
}

void load(int round, int last, unsigned long seed) {
  static const char *const folders[] = {"", "/tmp", "/new"};
  char path[64];
  for (int part = 0; part < 3; part++) {
    snprintf(path, sizeof path, ROOT "/spool.%d%s", round, folders[part]);
    must(mkdir(path, 0755), "make the spool");
  }
  snprintf(path, sizeof path, ROOT "/spool.%d", round);
  sync_directory(path);
  sync_directory(ROOT);
  tell("step load");
  int number = 0;
  for (int id = 0; id < COUNTERS; id++) if (begins(seed, number++)) count_up(id);
  for (int id = 0; id < LOGS; id++) if (begins(seed, number++)) append(id);
  for (int id = 0; id < SLOT_FILES; id++) if (begins(seed, number++)) overwrite(id);
  for (int id = 0; id < SPOOLERS; id++) if (begins(seed, number++)) deliver(round, id);
  if (begins(seed, number)) make_bulk(last);
}
