import type { Command } from 'commander';
import type { Context } from './context.ts';

/** One file of `commands/`. */
export interface CommandFile {
  define(context: Context): Command;
}

/** Every command, in the order in which `ebb --help` shows them. The file is loaded when its command is called. */
export const commands: readonly { name: string; summary: string; load: () => Promise<CommandFile> }[] = [
  { name: 'up', summary: 'start Ebb on this machine', load: () => import('./commands/up.ts') },
  { name: 'down', summary: 'stop Ebb and all that it runs', load: () => import('./commands/down.ts') },
  { name: 'status', summary: 'show whether Ebb runs, and what', load: () => import('./commands/status.ts') },
  { name: 'doctor', summary: 'check what Ebb needs of this machine', load: () => import('./commands/doctor.ts') },
  { name: 'deploy', summary: 'deploy a folder, an image or a manifest', load: () => import('./commands/deploy.ts') },
  { name: 'services', summary: 'list services', load: () => import('./commands/services.ts') },
  { name: 'describe', summary: 'show all about a service', load: () => import('./commands/describe.ts') },
  { name: 'instances', summary: 'list running and standby instances', load: () => import('./commands/instances.ts') },
  { name: 'revisions', summary: 'list revisions', load: () => import('./commands/revisions.ts') },
  { name: 'logs', summary: 'show what a service printed', load: () => import('./commands/logs.ts') },
  { name: 'invoke', summary: 'send a request to a service', load: () => import('./commands/invoke.ts') },
  { name: 'delete', summary: 'delete services', load: () => import('./commands/delete.ts') },
  {
    name: 'kubeconfig',
    summary: 'print the kubeconfig for kubectl and kn',
    load: () => import('./commands/kubeconfig.ts'),
  },
];
