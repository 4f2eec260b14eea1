import { Type, type Static } from 'typebox';
import { flag, int32, int64, intOrString, mapOf, quantity, refusing, text } from './schema.ts';
import { EnvFromSource, EnvVarSource, VolumeMount } from './volumes.ts';

export const EnvVar = Type.Object(
  {
    name: text('Name of the variable.'),
    value: Type.Optional(text('Value of the variable.')),
    valueFrom: Type.Optional(EnvVarSource),
  },
  { description: 'An environment variable of a container.' },
);
export type EnvVar = Static<typeof EnvVar>;

export const ContainerPort = Type.Object(
  {
    name: Type.Optional(text('"http1" (default) or "h2c".')),
    containerPort: Type.Optional(int32('The port that the container listens on; 8080 unless set. It also gets PORT.')),
    protocol: Type.Optional(text('TCP.')),
  },
  { description: 'The port that requests are sent to.', ...refusing('hostIP', 'hostPort') },
);
export type ContainerPort = Static<typeof ContainerPort>;

const HttpHeader = Type.Object({ name: text('Name of the header.'), value: text('Value of the header.') });

export const Probe = Type.Object(
  {
    initialDelaySeconds: Type.Optional(int32('Seconds after the start before the first probe.')),
    periodSeconds: Type.Optional(int32('Seconds between probes; 0 probes as fast as is sensible.')),
    timeoutSeconds: Type.Optional(int32('Seconds until a probe counts as failed.')),
    successThreshold: Type.Optional(int32('Successes in a row to count as healthy.')),
    failureThreshold: Type.Optional(int32('Failures in a row to count as unhealthy.')),
    httpGet: Type.Optional(
      Type.Object(
        {
          path: Type.Optional(text('Path to ask for; / unless set.')),
          port: Type.Optional(intOrString("Port to ask; the container's own unless set.")),
          scheme: Type.Optional(text('HTTP or HTTPS.')),
          host: Type.Optional(text("Host to ask; the container's own address unless set.")),
          httpHeaders: Type.Optional(Type.Array(HttpHeader, { description: 'Headers to send.' })),
        },
        { description: 'Succeeds on an HTTP status of 200 to 399.' },
      ),
    ),
    tcpSocket: Type.Optional(
      Type.Object(
        {
          port: Type.Optional(intOrString("Port to connect to; the container's own unless set.")),
          host: Type.Optional(text("Host to connect to; the container's own address unless set.")),
        },
        { description: 'Succeeds when a connection can be made.' },
      ),
    ),
    exec: Type.Optional(
      Type.Object(
        { command: Type.Optional(Type.Array(Type.String(), { description: 'The command and its arguments.' })) },
        { description: 'Succeeds when the command exits with 0.' },
      ),
    ),
    grpc: Type.Optional(
      Type.Object(
        {
          port: Type.Optional(int32("Port to ask; the container's own unless set.")),
          service: Type.Optional(text('Service to ask for.')),
        },
        { description: 'Succeeds when the gRPC health service says SERVING.' },
      ),
    ),
  },
  { description: 'A check that a container is started, alive or ready.', ...refusing('terminationGracePeriodSeconds') },
);
export type Probe = Static<typeof Probe>;

export const ResourceRequirements = Type.Object(
  {
    limits: Type.Optional(mapOf(quantity(), 'At most this much, as quantities: cpu "500m", memory "256Mi".')),
    requests: Type.Optional(mapOf(quantity(), 'At least this much, as quantities.')),
  },
  { description: 'What a container may use.', ...refusing('claims') },
);
export type ResourceRequirements = Static<typeof ResourceRequirements>;

const SecurityContext = Type.Object(
  {
    runAsUser: Type.Optional(int64('User id of the process.')),
    runAsGroup: Type.Optional(int64('Group id of the process.')),
    runAsNonRoot: Type.Optional(flag('Refuse to run as root.')),
    readOnlyRootFilesystem: Type.Optional(flag('Make the root file system read-only.')),
    allowPrivilegeEscalation: Type.Optional(flag('Whether the process may gain privileges; it may not.')),
    capabilities: Type.Optional(
      Type.Object(
        {
          drop: Type.Optional(Type.Array(Type.String(), { description: 'Capabilities to take away; ALL for all.' })),
          add: Type.Optional(
            Type.Array(Type.String(), { description: 'Capabilities to give: NET_BIND_SERVICE alone.' }),
          ),
        },
        { description: 'Capabilities of the process.' },
      ),
    ),
  },
  {
    description: 'With which rights the process runs.',
    ...refusing('privileged', 'procMount', 'seLinuxOptions', 'seccompProfile', 'windowsOptions', 'appArmorProfile'),
  },
);

export const Container = Type.Object(
  {
    name: Type.Optional(text('Name of the container; user-container unless set.')),
    image: text('Image to run.'),
    command: Type.Optional(Type.Array(Type.String(), { description: "Replaces the image's entrypoint." })),
    args: Type.Optional(Type.Array(Type.String(), { description: "Replaces the image's arguments." })),
    env: Type.Optional(Type.Array(EnvVar, { description: 'Environment variables.' })),
    envFrom: Type.Optional(
      Type.Array(EnvFromSource, { description: 'Secrets and ConfigMaps whose keys become variables; env overrides.' }),
    ),
    volumeMounts: Type.Optional(Type.Array(VolumeMount, { description: 'Volumes that the container sees.' })),
    ports: Type.Optional(Type.Array(ContainerPort, { description: 'The one port that requests are sent to.' })),
    resources: Type.Optional(ResourceRequirements),
    workingDir: Type.Optional(text("Working directory; the image's own unless set.")),
    imagePullPolicy: Type.Optional(text('Always, IfNotPresent or Never.')),
    livenessProbe: Type.Optional(Probe),
    readinessProbe: Type.Optional(Probe),
    startupProbe: Type.Optional(Probe),
    securityContext: Type.Optional(SecurityContext),
  },
  {
    description: 'A container of a revision.',
    ...refusing(
      ...['lifecycle', 'resizePolicy', 'restartPolicy', 'stdin', 'stdinOnce', 'terminationMessagePath'],
      ...['terminationMessagePolicy', 'tty', 'volumeDevices'],
    ),
  },
);
export type Container = Static<typeof Container>;
