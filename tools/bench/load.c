/*
 * Clients that ask a server on this machine for the same things again and again, and discard what they
 * get. The kernel drops the bodies (MSG_TRUNC), so nothing is copied: what a run costs is the server's.
 *
 *   load PORT CLIENTS SECONDS STATUS METHOD PATH...
 *
 * Each client has one connection, which it keeps, and one request under way. The paths come in turn.
 * An answer with another status than STATUS, or without a length, ends the run with exit code 1. What
 * is under way when the time is over counts by the bytes that came. Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define HEAD_BYTES_MAX 16384
#define DISCARD_BYTES (16 << 20) /* what one call may drop; more than any buffer of a socket holds */
#define EVENTS_MAX 256

struct client {
  int socket;
  int path;
  int head_length;    /* of the answer that comes, as far as it is here */
  long body_bytes;    /* still to come; -1 while the head is not complete */
  double asked_at_ms;
  char head[HEAD_BYTES_MAX + 1];
};

static struct sockaddr_in server = {.sin_family = AF_INET};
static int epoll, status, is_head, paths;
static char **requests;
static long answers, bytes, connections;
static float *times_ms;
static long times_max;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static char *request_of(const char *method, const char *path, int port) {
  char *text;
  int length = asprintf(&text,
      "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: load\r\n"
      "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
      "application/vnd.docker.distribution.manifest.list.v2+json, "
      "application/vnd.docker.distribution.manifest.v2+json\r\n\r\n", method, path, port);
  if (length < 0) fail("malloc");
  return text;
}

static void ask(struct client *client) {
  const char *text = requests[client->path];
  client->path = (client->path + 1) % paths;
  client->head_length = 0;
  client->body_bytes = -1;
  client->asked_at_ms = now_ms();
  if (send(client->socket, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text)) fail("send");
}

/* On loopback a connection is there at once. */
static void begin(struct client *client) {
  int one = 1;
  client->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (client->socket < 0) fail("socket");
  if (connect(client->socket, (struct sockaddr *)&server, sizeof server) < 0) fail("connect");
  setsockopt(client->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->socket, &event) < 0) fail("epoll");
  connections++;
  ask(client);
}

static void note_answer(struct client *client) {
  if (answers == times_max) {
    times_max = times_max ? times_max * 2 : 65536;
    times_ms = realloc(times_ms, times_max * sizeof *times_ms);
    if (times_ms == NULL) fail("malloc");
  }
  times_ms[answers++] = now_ms() - client->asked_at_ms;
}

/* Reads the head, once it is whole; what of the body came along is taken off. */
static void read_head(struct client *client) {
  client->head[client->head_length] = 0;
  char *end = strstr(client->head, "\r\n\r\n");
  if (end == NULL) {
    if (client->head_length < HEAD_BYTES_MAX) return;
    fprintf(stderr, "the head of an answer is too long\n");
    exit(1);
  }
  char *length = strcasestr(client->head, "\r\ncontent-length:");
  int is_right = atoi(client->head + strlen("HTTP/1.1 ")) == status;
  if (!is_right || length == NULL || length > end) {
    fprintf(stderr, "unexpected answer:\n%s\n", client->head);
    exit(1);
  }
  long came = client->head + client->head_length - (end + 4);
  client->body_bytes = is_head ? 0 : atol(length + strlen("\r\ncontent-length:")) - came;
  bytes += came;
}

/* Takes what is there, in one call. */
static void take(struct client *client) {
  int in_body = client->body_bytes > 0;
  ssize_t count = in_body
      ? recv(client->socket, NULL,
             client->body_bytes < DISCARD_BYTES ? client->body_bytes : DISCARD_BYTES,
             MSG_TRUNC | MSG_DONTWAIT)
      : recv(client->socket, client->head + client->head_length,
             HEAD_BYTES_MAX - client->head_length, MSG_DONTWAIT);
  if (count < 0 && errno == EAGAIN) return;
  if (count < 0 && errno != ECONNRESET) fail("recv");
  if (count <= 0) {
    /* Between two answers a server may close; the client then comes again. */
    if (in_body) fail("the server closed in the middle of an answer");
    close(client->socket);
    begin(client);
    return;
  }
  if (in_body) {
    client->body_bytes -= count;
    bytes += count;
  } else {
    client->head_length += count;
    read_head(client);
  }
  if (client->body_bytes == 0) {
    note_answer(client);
    ask(client);
  }
}

static int by_time(const void *a, const void *b) {
  float left = *(const float *)a, right = *(const float *)b;
  return (left > right) - (left < right);
}

static double cpu_ms(void) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
         (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

int main(int count, char **words) {
  if (count < 7) {
    fprintf(stderr, "usage: load PORT CLIENTS SECONDS STATUS METHOD PATH...\n");
    return 2;
  }
  /* Nobody would end it if whoever started it were killed. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int port = atoi(words[1]), clients = atoi(words[2]);
  double limit_ms = atof(words[3]) * 1e3;
  status = atoi(words[4]);
  is_head = strcmp(words[5], "HEAD") == 0;
  paths = count - 6;
  requests = malloc(paths * sizeof *requests);
  struct client *all = calloc(clients, sizeof *all);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  if (requests == NULL || all == NULL || epoll < 0) fail("setup");
  for (int i = 0; i < paths; i++) requests[i] = request_of(words[5], words[6 + i], port);
  server.sin_port = htons(port);
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  double began_ms = now_ms(), passed_ms;
  for (int i = 0; i < clients; i++) {
    all[i].path = i % paths;
    begin(&all[i]);
  }
  while ((passed_ms = now_ms() - began_ms) < limit_ms) {
    struct epoll_event events[EVENTS_MAX];
    int ready = epoll_wait(epoll, events, EVENTS_MAX, (int)(limit_ms - passed_ms) + 1);
    if (ready < 0 && errno != EINTR) fail("epoll");
    /* Once each, so that all are served alike. */
    for (int i = 0; i < ready; i++) take(events[i].data.ptr);
  }
  qsort(times_ms, answers, sizeof *times_ms, by_time);
  double middle = answers ? times_ms[answers / 2] : 0, slow = answers ? times_ms[answers * 99 / 100] : 0;
  printf("{\"answers\":%ld,\"bytes\":%ld,\"wallMs\":%.1f,\"ownCpuMs\":%.1f,\"medianMs\":%.3f,"
         "\"slowMs\":%.3f,\"connections\":%ld}\n",
         answers, bytes, passed_ms, cpu_ms(), middle, slow, connections);
  return 0;
}
