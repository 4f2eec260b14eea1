// The smallest HTTP server that starts at once: what remains of a cold start when the app's own boot costs nothing.
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void quit(int signal) { _exit(signal == SIGTERM ? 0 : 1); }

int main(void) {
  static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
  const char *port = getenv("PORT");
  int on = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port ? atoi(port) : 8080)};
  char request[4096];

  signal(SIGTERM, quit);
  signal(SIGPIPE, SIG_IGN);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128)) return 1;
  for (;;) {
    int client = accept(listener, 0, 0);
    if (client < 0) continue;
    if (read(client, request, sizeof request) > 0 && write(client, answer, strlen(answer)) < 0) { /* it left */ }
    close(client);
  }
}
