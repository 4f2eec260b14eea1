// Loaded before a Node app (NODE_OPTIONS). The kernel takes the default action of a signal away from a container's first
// process (pid_namespaces(7)): an app without a handler of its own would sit SIGTERM out until it is killed. This gives the
// default back; an app that listens decides for itself.
if (process.pid === 1) {
  for (const [name, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
  ]) {
    process.on(name, () => {
      if (process.listenerCount(name) === 1) process.exit(128 + number);
    });
  }
}
