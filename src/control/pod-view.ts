import type { Engine, Instance, LogLine, Workload } from '../engine/engine.ts';
import { podOf } from './pods.ts';
import type { PodView } from '../apiserver/views.ts';

/** The engine's instances as the API server's Pods. */
export function createPodView(
  engine: Engine,
  workloadOf: (key: Instance['workload']) => Workload | undefined,
): PodView {
  const pod = (instance: Instance) => podOf(instance, workloadOf(instance.workload));
  const find = (namespace: string, name: string) =>
    engine.instances().find((i) => i.id === name && i.workload.startsWith(`${namespace}/`));
  return {
    async list(namespace) {
      const all = engine.instances();
      return (namespace ? all.filter((i) => i.workload.startsWith(`${namespace}/`)) : all).map(pod);
    },
    async get(namespace, name) {
      const instance = find(namespace, name);
      return instance && pod(instance);
    },
    logs: (_namespace, name, options, signal) =>
      format(
        engine.logs({
          of: { instance: name },
          follow: options.follow ?? false,
          signal,
          ...(options.sinceSeconds === undefined ? {} : { sinceMs: Date.now() - options.sinceSeconds * 1000 }),
          ...(options.tailLines === undefined ? {} : { tailLines: options.tailLines }),
        }),
        options.timestamps ?? false,
      ),
    onChange: (listener) => engine.on((event) => event.type !== 'failing' && listener()),
  };
}

async function* format(lines: AsyncIterable<LogLine>, timestamps: boolean): AsyncIterable<string> {
  for await (const line of lines) yield timestamps ? `${line.time} ${line.text}\n` : `${line.text}\n`;
}
