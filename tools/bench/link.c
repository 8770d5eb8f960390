/*
 * A link between two network namespaces, with latency, loss and a line rate: what netem does where the
 * kernel has it. Each end is a TAP device; frames are read at one end, kept for as long as the line
 * would need, and written at the other.
 *
 *   link NAMESPACE_A NAMESPACE_B DEVICE DELAY_MS LOSS_PERCENT RATE_MBIT SEED
 *
 * "-" is the namespace it is started in. DELAY_MS is one way. RATE_MBIT 0 is no limit. Prints "ready"
 * once both devices exist; they go when it ends. The same seed loses the same frames, as far as the
 * same frames come.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define FRAME_BYTES_MAX 1600 /* the devices have an MTU of 1500 */
#define FRAMES_MAX 16384     /* what is in flight; more than any rate and delay here can fill */
#define QUEUE_MS_MAX 200.0   /* what waits for the line: a usual router drops the rest */

struct frame {
  double due_ms;
  int length;
  unsigned char bytes[FRAME_BYTES_MAX];
};

/* One direction: a ring of frames, and when the line is free for the next. */
struct direction {
  struct frame *frames;
  unsigned first, end;
  double free_at_ms;
};

static double delay_ms, loss, bytes_per_ms;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static int open_device(int home, const char *namespace, const char *name) {
  int there = home;
  if (strcmp(namespace, "-") != 0) {
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    there = open(path, O_RDONLY | O_CLOEXEC);
    if (there < 0) fail(path);
  }
  if (setns(there, CLONE_NEWNET) < 0) fail("setns");
  int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (device < 0) fail("/dev/net/tun");
  struct ifreq request = {0};
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
  if (ioctl(device, TUNSETIFF, &request) < 0) fail("TUNSETIFF");
  return device;
}

/* Writes what is due; gives how long the next frame has to wait. */
static double let_out(struct direction *way, int device, double wait_ms) {
  double now = now_ms();
  for (; way->first != way->end; way->first++) {
    struct frame *frame = &way->frames[way->first % FRAMES_MAX];
    if (frame->due_ms > now) return frame->due_ms - now < wait_ms ? frame->due_ms - now : wait_ms;
    /* A device whose queue is full loses the frame, as a network card would. */
    if (write(device, frame->bytes, frame->length) < 0) continue;
  }
  return wait_ms;
}

/* Takes in what has come, but what is lost or finds the queue full. */
static void let_in(struct direction *way, int device) {
  for (;;) {
    struct frame lost, *frame = &lost;
    int is_full = way->end - way->first == FRAMES_MAX;
    if (!is_full) frame = &way->frames[way->end % FRAMES_MAX];
    frame->length = read(device, frame->bytes, FRAME_BYTES_MAX);
    if (frame->length <= 0) return;
    if (is_full) continue;
    double now = now_ms();
    if (way->free_at_ms < now) way->free_at_ms = now;
    if (bytes_per_ms > 0 && way->free_at_ms - now > QUEUE_MS_MAX) continue;
    if (bytes_per_ms > 0) way->free_at_ms += frame->length / bytes_per_ms;
    /* Lost on the way, so it took its time on the line all the same. */
    if (drand48() < loss) continue;
    frame->due_ms = way->free_at_ms + delay_ms;
    way->end++;
  }
}

int main(int count, char **words) {
  if (count != 8) {
    fprintf(stderr, "usage: link NS_A NS_B DEVICE DELAY_MS LOSS_PERCENT RATE_MBIT SEED\n");
    return 2;
  }
  /* Nobody would remove the devices if whoever started this were killed. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  delay_ms = atof(words[4]);
  loss = atof(words[5]) / 100;
  bytes_per_ms = atof(words[6]) * 1e6 / 8 / 1e3;
  srand48(atol(words[7]));
  int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (home < 0) fail("/proc/self/ns/net");
  int devices[2] = {open_device(home, words[1], words[3]), open_device(home, words[2], words[3])};
  struct direction ways[2] = {0};
  for (int i = 0; i < 2; i++) {
    ways[i].frames = malloc(sizeof(struct frame) * FRAMES_MAX);
    if (ways[i].frames == NULL) fail("malloc");
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    double wait_ms = 1000;
    for (int i = 0; i < 2; i++) wait_ms = let_out(&ways[i], devices[!i], wait_ms);
    struct pollfd polls[2] = {{devices[0], POLLIN, 0}, {devices[1], POLLIN, 0}};
    struct timespec wait = {(time_t)(wait_ms / 1e3), (long)(wait_ms * 1e6) % 1000000000L};
    if (ppoll(polls, 2, &wait, NULL) < 0) fail("ppoll");
    for (int i = 0; i < 2; i++) {
      if (polls[i].revents & POLLIN) let_in(&ways[i], devices[i]);
    }
  }
}
