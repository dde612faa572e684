// The first process of the guest: mounts the disk and the volume on it, tells what it finds there, then works on the
// volume until the power fails. The host talks to it by the kernel's command line and reads the second serial port:
//
//   disk MODE              the kernel's idea of the disk's cache ("write back")
//   step NAME              ext4, made or checked, mounted, verified, load, ended: how far it is
//   found WORD …           what is on the volume, of the kinds below
//   bad TEXT               something that may never be there, whatever was lost
//   error TEXT             a call that failed
//   counter ID VALUE       acknowledged: the counter's file holds VALUE
//   log ID COUNT           so many lines are in the log
//   slot ID SLOT VALUE     the slot was overwritten in place
//   mail ID NUMBER         the mail lies in spool.ROUND/new
//   gone ID NUMBER         the mail was deleted
//
// A line is sent only after the call that made it durable (fsync, fdatasync, fsync of the directory) has succeeded.
#include "guest.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define VOLUME "/disk/volume"

static int port = 1;

void tell(const char *format, ...) {
  char line[256];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  if (length > (int)sizeof line - 2) length = sizeof line - 2;
  line[length++] = '\n';
  // One call for a line: those of other processes do not come between.
  if (write(port, line, length) != length) _exit(3);
}

void failed(const char *what) {
  tell("error %s: %s", what, strerror(errno));
  // The others must not go on as if nothing were wrong.
  tcdrain(port);
  reboot(RB_POWER_OFF);
  _exit(1);
}

long must(long result, const char *what) {
  if (result < 0) failed(what);
  return result;
}

static void make_directory(const char *path) {
  if (mkdir(path, 0755) && errno != EEXIST) failed(path);
}

static void load_modules(const char *names) {
  char path[128];
  for (int length; *names; names += length + (names[length] == ',')) {
    length = strcspn(names, ",");
    snprintf(path, sizeof path, "/modules/%.*s.ko", length, names);
    int file = must(open(path, O_RDONLY), path);
    if (syscall(SYS_finit_module, file, "", 0) && errno != EEXIST) failed(path);
    close(file);
  }
}

// Makes fdatasync and fsync do nothing and succeed, in this process and its children.
static void forget_to_flush(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fdatasync, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fsync, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "prctl");
}

static pid_t start(const char *command, const char *mountpoint) {
  pid_t child = must(fork(), "fork");
  if (child) return child;
  if (mountpoint && getenv("FORGETFUL")) forget_to_flush();
  if (mountpoint)
    execl("/bin/sabfs", "sabfs", command, VOLUME, mountpoint, "--capacity", "128M", "--check-at-exit", NULL);
  else
    execl("/bin/sabfs", "sabfs", command, VOLUME, NULL);
  _exit(127);
}

static void must_end_well(pid_t child, const char *what) {
  int status;
  must(waitpid(child, &status, 0), "waitpid");
  if (status) tell("bad %s ended with status %#x", what, status);
}

static int is_mounted(void) {
  struct stat above, root;
  return !stat("/", &above) && !stat(ROOT, &root) && above.st_dev != root.st_dev;
}

static void open_port(void) {
  // Nobody echoes or translates.
  struct termios mode;
  port = must(open("/dev/ttyS1", O_RDWR | O_NOCTTY), "open the port");
  must(tcgetattr(port, &mode), "tcgetattr");
  cfmakeraw(&mode);
  must(tcsetattr(port, TCSANOW, &mode), "tcsetattr");
}

// How soon the kernel writes what nobody syncs, in hundredths of a second.
static void write_back_after(const char *time) {
  static const char *const names[] = {"/proc/sys/vm/dirty_writeback_centisecs", "/proc/sys/vm/dirty_expire_centisecs"};
  for (int name = 0; name < 2; name++) {
    int file = must(open(names[name], O_WRONLY), names[name]);
    must(write(file, time, strlen(time)), names[name]);
    close(file);
  }
}

static void tell_of_cache(void) {
  char mode[64] = "";
  int file = must(open("/sys/block/vda/queue/write_cache", O_RDONLY), "open write_cache");
  must(read(file, mode, sizeof mode - 1), "read write_cache");
  close(file);
  mode[strcspn(mode, "\n")] = 0;
  tell("disk %s", mode);
}

static pid_t mount_volume(void) {
  pid_t server = start("mount", ROOT);
  while (!is_mounted()) {
    if (waitpid(server, NULL, WNOHANG)) {
      tell("bad the volume could not be mounted");
      failed("mount");
    }
    usleep(10000);
  }
  return server;
}

int main(void) {
  int round = atoi(getenv("ROUND") ?: "0"), last = atoi(getenv("LAST") ?: "0");
  unsigned long seed = strtoul(getenv("SEED") ?: "1", NULL, 10);
  for (const char *name = "/proc\0/sys\0/dev\0/disk\0" ROOT "\0"; *name; name += strlen(name) + 1) make_directory(name);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("sys", "/sys", "sysfs", 0, NULL);
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  open_port();
  load_modules(getenv("MODULES") ?: "");
  tell_of_cache();
  if (getenv("WRITEBACK")) write_back_after(getenv("WRITEBACK"));
  // The disk may still be looked for.
  for (int tries = 0; access("/dev/vda", F_OK) && tries < 500; tries++) usleep(10000);
  must(mount("/dev/vda", "/disk", "ext4", 0, ""), "mount the disk");
  tell("step ext4");
  if (getenv("EXISTS")) {
    must_end_well(start("check", NULL), "sabfs check");
    tell("step checked");
  } else {
    must_end_well(start("mkfs", NULL), "sabfs mkfs");
    tell("step made");
  }
  pid_t server = mount_volume();
  tell("step mounted");
  verify(last);
  tell("step verified");
  if (!getenv("FINAL")) {
    load(round, last, seed);
    // Until the power fails; whoever of the load ends has said why.
    for (;;) pause();
  }
  must(umount(ROOT), "umount");
  must_end_well(server, "the mount");
  must_end_well(start("check", NULL), "sabfs check");
  must(umount("/disk"), "unmount the disk");
  tell("step ended");
  tcdrain(port);
  reboot(RB_POWER_OFF);
}
