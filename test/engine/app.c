// A web server for the engine's tests: static, and ready to misbehave in every way when told to.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

static void ignore(int signal) { (void)signal; }

static int connects(const char *host, int port) {
  int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, host, &a.sin_addr);
  connect(s, (void *)&a, sizeof a);
  struct pollfd p = {.fd = s, .events = POLLOUT};
  int error = ETIMEDOUT;
  socklen_t size = sizeof error;
  if (poll(&p, 1, 700) == 1) getsockopt(s, SOL_SOCKET, SO_ERROR, &error, &size);
  close(s);
  return error;
}

static void answer(char *path, char *out, size_t size) {
  char a[256] = "";
  int n = 0;
  snprintf(out, size, "hi");
  if (sscanf(path, "/connect/%255[^/]/%d", a, &n) == 2) snprintf(out, size, "%s", strerror(connects(a, n)));
  if (!strncmp(path, "/read/", 6)) {
    int f = open(path + 5, O_RDONLY);
    ssize_t got = f < 0 ? -1 : read(f, out, size - 1);
    if (got < 0) snprintf(out, size, "error: %s", strerror(errno));
    for (ssize_t i = 0; i < got; i++) if (!out[i]) out[i] = '\n';
    if (got >= 0) out[got] = 0;
    if (f >= 0) close(f);
  }
  if (!strncmp(path, "/write/", 7)) {
    int f = open(path + 6, O_WRONLY | O_CREAT, 0644);
    snprintf(out, size, "%s", f >= 0 && write(f, "x", 1) == 1 ? "ok" : strerror(errno));
    if (f >= 0) close(f);
  }
  if (!strcmp(path, "/mount")) snprintf(out, size, "%s", mount("none", "/tmp", "tmpfs", 0, "") ? strerror(errno) : "ok");
  if (!strcmp(path, "/raw")) snprintf(out, size, "%s", socket(AF_INET, SOCK_RAW, 1) < 0 ? strerror(errno) : "ok");
  if (!strcmp(path, "/oom"))
    for (;;) memset(malloc(1 << 20), 1, 1 << 20);
  if (!strcmp(path, "/fork")) {
    int made = 0;
    for (; made < 100000; made++) {
      pid_t child = fork();
      if (child < 0) break;
      if (child == 0) for (;;) pause();
    }
    snprintf(out, size, "%d %s", made, strerror(errno));
    kill(-1, SIGKILL);
  }
  if (!strcmp(path, "/fill")) {
    int f = open("/tmp/big", O_WRONLY | O_CREAT, 0644);
    static char block[1 << 16];
    long long written = 0;
    ssize_t got;
    while ((got = write(f, block, sizeof block)) > 0) written += got;
    snprintf(out, size, "%lld %s", written, strerror(errno));
    close(f);
    unlink("/tmp/big");
  }
  if (sscanf(path, "/print/%d", &n) == 1) {
    for (int i = 0; i < n; i++) printf("line %d %0500d\n", i, i);
    fflush(stdout);
  }
  if (sscanf(path, "/exit/%d", &n) == 1) {
    printf("leaving with %d\n", n);
    fflush(stdout);
    _exit(n);
  }
}

int main(int argc, char **argv) {
  const char *mode = argc > 1 ? argv[1] : "serve";
  int port = atoi(getenv("PORT") ? getenv("PORT") : "8080");
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (!strcmp(mode, "die")) {
    printf("about to die\n");
    fprintf(stderr, "no config found\n");
    return 3;
  }
  signal(SIGTERM, !strcmp(mode, "stubborn") ? ignore : SIG_DFL);
  if (!strcmp(mode, "port")) port = 3000;
  signal(SIGCHLD, SIG_IGN);
  int s = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (!strcmp(mode, "loopback")) inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
  if (bind(s, (void *)&a, sizeof a) || listen(s, 128)) return 1;
  printf("listening on %d\n", port);
  for (;;) {
    int c = accept(s, NULL, NULL);
    if (c < 0) continue;
    static char in[4096], out[8192], path[512];
    ssize_t got = read(c, in, sizeof in - 1);
    in[got > 0 ? got : 0] = 0;
    path[0] = 0;
    if (sscanf(in, "GET %511s", path) == 1) answer(path, out, sizeof out);
    else out[0] = 0;
    dprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", strlen(out), out);
    shutdown(c, SHUT_WR);
    while (read(c, in, sizeof in) > 0) {}
    close(c);
  }
}
