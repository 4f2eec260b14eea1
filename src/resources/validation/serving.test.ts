import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { checkShape } from '../check.ts';
import { defaultConfiguration, defaultRoute, defaultService } from '../defaults.ts';
import { fieldErrorsText } from '../field-error.ts';
import { kinds } from '../kinds/index.ts';
import { Service, type Configuration, type Revision, type Route } from '../serving.ts';
import { validateConfiguration, validateRevision, validateRoute, validateService } from './serving.ts';

type Json = Record<string, unknown>;

/** A service that is fine, with something else in its template's spec, container, metadata or traffic. */
function service(
  change: { spec?: Json; container?: Json; annotations?: Json; metadata?: Json; traffic?: Json[]; name?: string } = {},
) {
  const { spec = {}, container = {}, annotations, metadata = {}, traffic, name } = change;
  return {
    apiVersion: 'serving.knative.dev/v1',
    kind: 'Service',
    metadata: { name: 'hello', namespace: 'default', ...metadata },
    spec: {
      template: {
        metadata: { ...(annotations ? { annotations } : {}), ...(name ? { name } : {}) },
        spec: { containers: [{ image: 'localhost/hello:1', ...container }], ...spec },
      },
      ...(traffic ? { traffic } : {}),
    },
  };
}

/** The messages that such a service is refused with; '' when it is accepted. */
function refusal(object: unknown, previous?: Service): string {
  const { value, errors, unknown } = checkShape(Service, object);
  if (errors.length + unknown.length > 0)
    return [fieldErrorsText(errors), ...unknown.map((u) => `unknown ${u}`)].join('\n');
  return fieldErrorsText(validateService(defaultService(value as Service), previous));
}

const container = 'spec.template.spec.containers[0]';
const annotations = 'spec.template.metadata.annotations';

describe('validation of a Service', () => {
  it('accepts what is fine', () => {
    assert.equal(refusal(service()), '');
    const full = service({
      container: {
        command: ['/bin/x'],
        env: [{ name: 'A', value: 'b' }],
        ports: [{ name: 'h2c', containerPort: 9000 }],
        resources: { limits: { cpu: 1.5, memory: '256Mi' }, requests: { cpu: '100m' } },
        readinessProbe: { httpGet: { path: '/ok', port: 'h2c' }, periodSeconds: 0 },
        livenessProbe: { exec: { command: ['true'] } },
        securityContext: { runAsUser: 1000, capabilities: { drop: ['ALL'] } },
      },
      spec: { containerConcurrency: 10, timeoutSeconds: 60, responseStartTimeoutSeconds: 30 },
      annotations: {
        'autoscaling.knative.dev/minScale': '1',
        'autoscaling.knative.dev/max-scale': '3',
        'ebb.dev/writable': 'disk',
      },
      traffic: [
        { revisionName: 'hello-00001', percent: 90 },
        { latestRevision: true, percent: 10, tag: 'next' },
      ],
    });
    assert.equal(refusal(full), '');
  });

  const table: [string, Parameters<typeof service>[0], string][] = [
    ['no image', { container: { image: '' } }, `missing field(s): ${container}.image`],
    ['an odd image', { container: { image: 'Not An Image' } }, `Failed to parse image reference: ${container}.image`],
    ['no container', { spec: { containers: [] } }, 'missing field(s): spec.template.spec.containers'],
    [
      'concurrency below 0',
      { spec: { containerConcurrency: -1 } },
      'expected 0 <= -1 <= 1000: spec.template.spec.containerConcurrency',
    ],
    [
      'timeout above 600',
      { spec: { timeoutSeconds: 601 } },
      'expected 0 <= 601 <= 600: spec.template.spec.timeoutSeconds',
    ],
    [
      'response start above timeout',
      { spec: { timeoutSeconds: 5, responseStartTimeoutSeconds: 6 } },
      'expected 0 <= 6 <= 5: spec.template.spec.responseStartTimeoutSeconds',
    ],
    [
      'service account',
      { spec: { serviceAccountName: 'foo@bar.baz' } },
      'invalid value: foo@bar.baz: spec.template.spec.serviceAccountName\n',
    ],
    ['host network', { spec: { hostNetwork: true } }, 'must not set the field(s): spec.template.spec.hostNetwork'],
    ['lifecycle', { container: { lifecycle: {} } }, `must not set the field(s): ${container}.lifecycle`],
    [
      'host port',
      { container: { ports: [{ hostPort: 1 }] } },
      `must not set the field(s): ${container}.ports[0].hostPort`,
    ],
    ['a misspelled field', { container: { imagge: 'x' } }, `unknown ${container}.imagge`],
    ['__proto__', { container: JSON.parse('{"__proto__":{"x":1}}') as Json }, `unknown ${container}.__proto__`],
    [
      'a wrong type',
      { container: { env: [{ name: 'A', value: 1 }] } },
      `invalid type: number 1, must be a string (numbers and booleans need quotes): ${container}.env[0].value`,
    ],
    [
      'reserved env',
      { container: { env: [{ name: 'PORT', value: '1' }] } },
      `"PORT" is a reserved environment variable: ${container}.env[0].name`,
    ],
    [
      'reserved port',
      { container: { ports: [{ containerPort: 8012 }] } },
      `invalid value: 8012: ${container}.ports[0].containerPort`,
    ],
    [
      'port name',
      { container: { ports: [{ name: 'tcp' }] } },
      `Port name tcp is not allowed: ${container}.ports[0].name`,
    ],
    [
      'two ports',
      { container: { ports: [{ containerPort: 1 }, { containerPort: 2 }] } },
      `more than one container port is set: ${container}.ports`,
    ],
    ['udp', { container: { ports: [{ protocol: 'UDP' }] } }, `invalid value: UDP: ${container}.ports[0].protocol`],
    [
      'reserved name',
      { container: { name: 'queue-proxy' } },
      `"queue-proxy" is a reserved container name: ${container}.name`,
    ],
    [
      'odd memory',
      { container: { resources: { limits: { memory: '64MB' } } } },
      `invalid value: 64MB: ${container}.resources.limits.memory`,
    ],
    [
      'memory in thousandths',
      { container: { resources: { limits: { memory: '256m' } } } },
      `invalid value: 256m: ${container}.resources.limits.memory`,
    ],
    [
      'a GPU',
      { container: { resources: { limits: { 'nvidia.com/gpu': 1 } } } },
      `invalid value: nvidia.com/gpu: ${container}.resources.limits`,
    ],
    [
      'request above limit',
      { container: { resources: { limits: { cpu: '1' }, requests: { cpu: '2' } } } },
      `invalid value: 2: ${container}.resources.requests.cpu`,
    ],
    [
      'two probe handlers',
      { container: { readinessProbe: { tcpSocket: {}, httpGet: {} } } },
      `expected exactly one, got both: ${container}.readinessProbe.httpGet, ${container}.readinessProbe.tcpSocket`,
    ],
    [
      'period 0 with threshold',
      { container: { readinessProbe: { tcpSocket: {}, periodSeconds: 0, failureThreshold: 2 } } },
      `must not set the field(s): ${container}.readinessProbe.failureThreshold`,
    ],
    [
      'a foreign named port',
      { container: { livenessProbe: { httpGet: { port: 'admin' } } } },
      `invalid value: admin: ${container}.livenessProbe.httpGet.port`,
    ],
    [
      'runAsUser',
      { container: { securityContext: { runAsUser: -1 } } },
      `expected 0 <= -1 <= 2147483647: ${container}.securityContext.runAsUser`,
    ],
    [
      'privileged',
      { container: { securityContext: { privileged: true } } },
      `must not set the field(s): ${container}.securityContext.privileged`,
    ],
    [
      'added capability',
      { container: { securityContext: { capabilities: { add: ['SYS_ADMIN'] } } } },
      `must not set the field(s): ${container}.securityContext.capabilities.add`,
    ],
    ['relative workingDir', { container: { workingDir: 'x' } }, `invalid value: x: ${container}.workingDir`],
    ['NUL in an argument', { container: { args: ['a\0b'] } }, `must not contain NUL characters: ${container}.command`],
    [
      'two containers without a port',
      { spec: { containers: [{ image: 'a' }, { image: 'b' }] } },
      'missing field(s): spec.template.spec.containers[*].ports',
    ],
    ['name', { metadata: { name: 'Hello' } }, 'not a DNS 1035 label: "Hello"'],
    ['long name', { metadata: { name: 'h'.repeat(64) } }, 'not a DNS 1035 label'],
    ['label', { metadata: { labels: { a: 'b c' } } }, 'invalid value: b c: metadata.labels.a'],
    ['template name', { name: 'other-1' }, '"other-1" must have prefix "hello-": spec.template.metadata.name'],
    [
      'autoscaling on the service',
      { metadata: { annotations: { 'autoscaling.knative.dev/min-scale': '1' } } },
      'invalid key name "autoscaling.knative.dev/min-scale": metadata.annotations',
    ],
    [
      'min-scale',
      { annotations: { 'autoscaling.knative.dev/min-scale': '-1' } },
      `expected 0 <= -1 <= 2147483647: ${annotations}.autoscaling.knative.dev/min-scale`,
    ],
    [
      'a misspelled annotation',
      { annotations: { 'autoscaling.knative.dev/minscale': '1' } },
      `invalid key name "autoscaling.knative.dev/minscale": ${annotations}`,
    ],
    [
      'max below min',
      { annotations: { 'autoscaling.knative.dev/min-scale': '3', 'autoscaling.knative.dev/max-scale': '2' } },
      'max-scale=2 is less than min-scale=3',
    ],
    ['window', { annotations: { 'autoscaling.knative.dev/window': '5s' } }, 'expected 6s <= 5s <= 1h'],
    [
      'fractional window',
      { annotations: { 'autoscaling.knative.dev/window': '6500ms' } },
      'must be in whole seconds, got 6500ms',
    ],
    ['target', { annotations: { 'autoscaling.knative.dev/target': '0' } }, 'expected 0.01 <= 0 <='],
    [
      'utilisation',
      { annotations: { 'autoscaling.knative.dev/target-utilization-percentage': 'lots' } },
      'invalid value: lots',
    ],
    [
      'class',
      { annotations: { 'autoscaling.knative.dev/class': 'hpa.autoscaling.knative.dev' } },
      'invalid value: hpa',
    ],
    [
      'ebb annotation',
      { annotations: { 'ebb.dev/writeable': 'disk' } },
      `invalid key name "ebb.dev/writeable": ${annotations}`,
    ],
    [
      'rollout',
      { metadata: { annotations: { 'serving.knative.dev/rollout-duration': 'soon' } } },
      'invalid value: soon',
    ],
    [
      'traffic sum',
      { traffic: [{ latestRevision: true, percent: 90 }] },
      'Traffic targets sum to 90, want 100: spec.traffic',
    ],
    [
      'traffic bounds',
      { traffic: [{ percent: 101 }, { percent: -1 }] },
      'expected 0 <= 101 <= 100: spec.traffic[0].percent',
    ],
    ['tag', { traffic: [{ percent: 100, tag: 'A' }] }, 'invalid value: A: spec.traffic[0].tag'],
    [
      'double tag',
      {
        traffic: [
          { percent: 50, tag: 'a' },
          { percent: 50, tag: 'a' },
        ],
      },
      'Multiple definitions for a: spec.traffic[0].tag, spec.traffic[1].tag',
    ],
    [
      'latest and name',
      { traffic: [{ percent: 100, latestRevision: true, revisionName: 'hello-1' }] },
      'invalid value: true: spec.traffic[0].latestRevision',
    ],
    [
      'configurationName',
      { traffic: [{ percent: 100, configurationName: 'x' }] },
      'must not set the field(s): spec.traffic[0].configurationName',
    ],
    ['url', { traffic: [{ percent: 100, url: 'x' }] }, 'must not set the field(s): spec.traffic[0].url'],
  ];
  for (const [title, change, message] of table) {
    it(`refuses: ${title}`, () => {
      const text = refusal(service(change));
      assert.ok(text.includes(message), `${message}\n is not in\n${text}`);
    });
  }

  it('lets a named template change only with its name', () => {
    const before = defaultService(service({ name: 'hello-one' }) as never);
    assert.equal(refusal(before, before), '');
    const changed = service({ name: 'hello-one', container: { image: 'localhost/hello:2' } });
    assert.match(
      refusal(changed, before),
      /Saw changes of the template without a name change: spec\.template\.metadata\.name/,
    );
    const renamed = service({ name: 'hello-two', container: { image: 'localhost/hello:2' } });
    assert.equal(refusal(renamed, before), '');
  });

  it('keeps the creator', () => {
    const by = (user: string) => service({ metadata: { annotations: { 'serving.knative.dev/creator': user } } });
    assert.match(refusal(by('eve'), by('adam') as never), /annotation value is immutable/);
  });
});

describe('validation of the other serving kinds', () => {
  it('never lets a Revision change', () => {
    const { template } = defaultService(service() as never).spec;
    const revision: Revision = { ...service(), kind: 'Revision', spec: template.spec } as never;
    assert.deepEqual(validateRevision(revision), []);
    assert.deepEqual(validateRevision(revision, revision), []);
    const changed = { ...revision, spec: { ...revision.spec, containerConcurrency: 5 } };
    assert.match(fieldErrorsText(validateRevision(changed, revision)), /Immutable fields changed: spec/);
  });

  it('gives a Route exactly one target each', () => {
    const route = (traffic: Json[]): Route => defaultRoute({ ...service(), kind: 'Route', spec: { traffic } } as never);
    assert.deepEqual(validateRoute(route([])), [], 'its own configuration by default');
    assert.match(fieldErrorsText(validateRoute(route([{ percent: 100 }]))), /expected exactly one, got neither/);
    const both = [{ percent: 100, revisionName: 'a', configurationName: 'b' }];
    assert.match(fieldErrorsText(validateRoute(route(both))), /expected exactly one, got both/);
  });

  it('holds a Configuration to the rules of a template', () => {
    const configuration = defaultConfiguration({ ...service(), kind: 'Configuration' } as never as Configuration);
    assert.deepEqual(validateConfiguration(configuration), []);
  });
});

describe('every kind', () => {
  it('survives any value: shape, defaults and validation never throw, defaults are idempotent', () => {
    // Objects made of the field names that the schemas know, with any values in them, and of anything else.
    const words = ['spec', 'template', 'containers', 'image', 'env', 'name', 'ports', 'traffic', 'percent', 'metadata'];
    const names = [
      'annotations',
      'labels',
      'readinessProbe',
      'resources',
      'limits',
      'data',
      'involvedObject',
      'status',
    ];
    const key = fc.oneof(fc.constantFrom(...words, ...names), fc.string(), fc.constant('__proto__'));
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small', withCrossShrink: true },
        fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null), fc.double()),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(key, tie('tree'), { maxKeys: 4 }),
      ),
    }));
    fc.assert(
      fc.property(fc.constantFrom(...kinds), tree, tree, (kind, metadata, rest) => {
        const body = { apiVersion: 'v1', kind: kind.kind, metadata, ...(rest as object) };
        const { value, errors } = checkShape(kind.schema, body);
        if (errors.length > 0) return;
        const object = kind.default?.(value as never, undefined) ?? (value as never);
        assert.deepEqual(kind.default?.(object, undefined) ?? object, object);
        kind.validate(object, undefined);
        for (const column of kind.columns) column.value(object, 0);
      }),
      { numRuns: 500 },
    );
  });
});
