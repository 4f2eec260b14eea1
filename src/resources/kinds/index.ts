import { configMapKind } from './config-map.ts';
import { configurationKind } from './configuration.ts';
import { coreServiceKind } from './core-service.ts';
import { customResourceDefinitionKind } from './custom-resource-definition.ts';
import { domainMappingKind } from './domain-mapping.ts';
import { eventKind } from './event.ts';
import type { Kind } from './kind.ts';
import { namespaceKind } from './namespace.ts';
import { podKind } from './pod.ts';
import { reviewKinds } from './reviews.ts';
import { revisionKind } from './revision.ts';
import { routeKind } from './route.ts';
import { secretKind } from './secret.ts';
import { serviceAccountKind } from './service-account.ts';
import { serviceKind } from './service.ts';

/** Every kind of the API. */
export const kinds: readonly Kind[] = [
  serviceKind,
  configurationKind,
  revisionKind,
  routeKind,
  domainMappingKind,
  configMapKind,
  eventKind,
  namespaceKind,
  podKind,
  secretKind,
  serviceAccountKind,
  coreServiceKind,
  customResourceDefinitionKind,
  ...reviewKinds,
];

export type { Column, Kind, Verb } from './kind.ts';
