import { configMapKind } from './config-map.ts';
import { configurationKind } from './configuration.ts';
import { eventKind } from './event.ts';
import type { Kind } from './kind.ts';
import { namespaceKind } from './namespace.ts';
import { podKind } from './pod.ts';
import { revisionKind } from './revision.ts';
import { routeKind } from './route.ts';
import { secretKind } from './secret.ts';
import { serviceKind } from './service.ts';

/** Every kind of the API. */
export const kinds: readonly Kind[] = [
  serviceKind,
  configurationKind,
  revisionKind,
  routeKind,
  configMapKind,
  eventKind,
  namespaceKind,
  podKind,
  secretKind,
];

export type { Column, Kind, Verb } from './kind.ts';
