import { Type, type Static } from 'typebox';
import { Container } from './container.ts';
import { Condition, ObjectMeta, typeMeta, type KubeObject } from './meta.ts';
import { flag, int32, int64, refusing, stringMap, text } from './schema.ts';
import { Volume } from './volumes.ts';

export * from './container.ts';
export * from './volumes.ts';

export const RevisionSpec = Type.Object(
  {
    containers: Type.Array(Container, { description: 'What to run.' }),
    volumes: Type.Optional(Type.Array(Volume, { description: 'Files that the containers may mount.' })),
    containerConcurrency: Type.Optional(int64('Requests at once in one instance; 0 is no limit.')),
    timeoutSeconds: Type.Optional(int64('Seconds that a request may take; 300 unless set.')),
    responseStartTimeoutSeconds: Type.Optional(int64('Seconds until a response must have begun.')),
    idleTimeoutSeconds: Type.Optional(int64('Seconds that a response may stand still.')),
    serviceAccountName: Type.Optional(text('Name of the ServiceAccount.')),
    enableServiceLinks: Type.Optional(flag('Not used.')),
  },
  {
    description: 'The desired state of a revision.',
    ...refusing(
      ...['activeDeadlineSeconds', 'affinity', 'automountServiceAccountToken', 'dnsConfig', 'dnsPolicy'],
      ...['ephemeralContainers', 'hostAliases', 'hostIPC', 'hostNetwork', 'hostPID', 'hostUsers', 'hostname'],
      ...['imagePullSecrets', 'initContainers', 'nodeName', 'nodeSelector', 'os', 'overhead', 'preemptionPolicy'],
      ...['priority', 'priorityClassName', 'readinessGates', 'resourceClaims', 'restartPolicy', 'runtimeClassName'],
      ...['schedulerName', 'schedulingGates', 'securityContext', 'serviceAccount', 'setHostnameAsFQDN'],
      ...['shareProcessNamespace', 'subdomain', 'terminationGracePeriodSeconds', 'tolerations'],
      ...['topologySpreadConstraints'],
    ),
  },
);
export type RevisionSpec = Static<typeof RevisionSpec>;

export const RevisionTemplate = Type.Object(
  {
    metadata: Type.Optional(Type.Unsafe<Partial<ObjectMeta>>(Type.Partial(ObjectMeta))),
    spec: RevisionSpec,
  },
  { description: 'The next revision: a change makes a new one.' },
);
export type RevisionTemplate = Static<typeof RevisionTemplate>;

export const TrafficTarget = Type.Object(
  {
    revisionName: Type.Optional(text('Revision that gets this part of the traffic.')),
    configurationName: Type.Optional(text('Configuration whose latest ready revision gets it. Not in a Service.')),
    latestRevision: Type.Optional(flag('Whether the latest ready revision gets it.')),
    percent: Type.Optional(int64('Share of the traffic; all shares add up to 100.')),
    tag: Type.Optional(text('Gives this target a URL of its own.')),
    url: Type.Optional(text('The URL of the tag; status only.')),
  },
  { description: 'A revision and its share of the traffic.' },
);
export type TrafficTarget = Static<typeof TrafficTarget>;

const traffic = (description: string) => Type.Optional(Type.Array(TrafficTarget, { description }));

const statusFields = {
  observedGeneration: Type.Optional(int64('The generation that this status speaks of.')),
  conditions: Type.Optional(Type.Array(Condition, { description: 'Aspects of the state, Ready among them.' })),
  annotations: Type.Optional(stringMap('Further facts of the status.')),
};
/** What every status has. */
export type Status = Pick<NonNullable<Service['status']>, 'observedGeneration' | 'conditions' | 'annotations'>;

const urlFields = {
  url: Type.Optional(text('Where requests are served.')),
  address: Type.Optional(
    Type.Object({ url: text('URL inside the cluster.') }, { description: 'Where other services find it.' }),
  ),
  traffic: traffic('The traffic as it is, with the URL of each tag.'),
};
const latestFields = {
  latestCreatedRevisionName: Type.Optional(text('The newest revision.')),
  latestReadyRevisionName: Type.Optional(text('The newest revision that can serve.')),
};

export const Service = Type.Object(
  {
    ...typeMeta,
    spec: Type.Object({ template: RevisionTemplate, traffic: traffic('How requests are shared among revisions.') }),
    status: Type.Optional(Type.Object({ ...statusFields, ...urlFields, ...latestFields })),
  },
  { description: 'An app with a URL: its revisions and the traffic to them.' },
);
export interface Service extends KubeObject, Pick<Static<typeof Service>, 'spec' | 'status'> {}

export const Configuration = Type.Object(
  {
    ...typeMeta,
    spec: Type.Object({ template: RevisionTemplate }),
    status: Type.Optional(Type.Object({ ...statusFields, ...latestFields })),
  },
  { description: 'The desired state of the latest revision, and the history of them all.' },
);
export interface Configuration extends KubeObject, Pick<Static<typeof Configuration>, 'spec' | 'status'> {}

const ContainerStatus = Type.Object({
  name: Type.Optional(text('Name of the container.')),
  imageDigest: Type.Optional(text('Its image, resolved to a digest.')),
});

export const Revision = Type.Object(
  {
    ...typeMeta,
    spec: RevisionSpec,
    status: Type.Optional(
      Type.Object({
        ...statusFields,
        containerStatuses: Type.Optional(Type.Array(ContainerStatus, { description: 'The images that are run.' })),
        actualReplicas: Type.Optional(int32('Instances that run.')),
        desiredReplicas: Type.Optional(int32('Instances that should run.')),
        logUrl: Type.Optional(text('Where its logs are.')),
      }),
    ),
  },
  { description: 'One version of code and configuration, never changed again.' },
);
export interface Revision extends KubeObject, Pick<Static<typeof Revision>, 'spec' | 'status'> {}

export const Route = Type.Object(
  {
    ...typeMeta,
    spec: Type.Object({ traffic: traffic('How requests are shared among revisions.') }),
    status: Type.Optional(Type.Object({ ...statusFields, ...urlFields })),
  },
  { description: 'Where requests come in, and to which revisions they go.' },
);
export interface Route extends KubeObject, Pick<Static<typeof Route>, 'spec' | 'status'> {}
