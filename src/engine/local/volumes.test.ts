import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { RevisionSpec } from '../../resources/index.ts';
import type { Workload } from '../engine.ts';
import { settingsOf } from './settings.ts';
import { mountsOf, planVolumes } from './volumes.ts';

const mi = 2 ** 20;

function workload(
  volumes: NonNullable<RevisionSpec['volumes']>,
  volumeMounts: NonNullable<RevisionSpec['containers'][0]['volumeMounts']> = [],
  annotations: Record<string, string> = {},
): Workload {
  const names = { namespace: 'default', revision: 'a-1', service: 'a', configuration: 'a', uid: 'u' };
  const resources = { limits: { memory: '64Mi' } };
  return { ...names, spec: { containers: [{ image: 'x', resources, volumeMounts }], volumes }, annotations };
}

function sizes(emptyDir: object, annotations: Record<string, string> = {}) {
  const made = workload([{ name: 'e', emptyDir }], [], annotations);
  const [plan] = planVolumes(made, settingsOf(made));
  return plan && plan.kind !== 'files' ? [plan.kind, plan.bytes / mi] : undefined;
}

describe('volumes of a sandbox', () => {
  it('an emptyDir is where the writable layer is, and within the limits', () => {
    const disk = { 'ebb.dev/writable': 'disk', 'ebb.dev/writable-size': '100Mi' };
    assert.deepEqual(sizes({}), ['memory', 32]);
    assert.deepEqual(sizes({ sizeLimit: '10Mi' }), ['memory', 10]);
    assert.deepEqual(sizes({ medium: 'Memory', sizeLimit: '1Gi' }), ['memory', 64]);
    assert.deepEqual(sizes({ sizeLimit: 0 }), ['memory', 32]);
    assert.deepEqual(sizes({ medium: 'Memory' }, disk), ['memory', 32]);
    assert.deepEqual(sizes({}, disk), ['disk', 100]);
    assert.deepEqual(sizes({ sizeLimit: '1' }, disk), ['disk', 4]);
  });

  it('are mounted outer folders first, by parts, and only to read unless it is an emptyDir', () => {
    const made = workload(
      [
        { name: 'files', secret: { secretName: 's' } },
        { name: 'empty', emptyDir: {} },
      ],
      [
        { name: 'files', mountPath: '/data/in/', subPath: './a//b', readOnly: true },
        { name: 'empty', mountPath: '/data' },
        { name: 'files', mountPath: '/data/deep/er', readOnly: true },
      ],
    );
    const file = { path: 'a/b', mode: 0o400, content: Buffer.from('x') };
    const plans = planVolumes(made, settingsOf(made), new Map([['files', [file]]]));
    assert.deepEqual(plans, [
      { name: 'files', parts: ['a/b'], kind: 'files', files: [file] },
      { name: 'empty', parts: ['deep/er'], kind: 'memory', bytes: 32 * mi },
    ]);
    const [container = { image: '' }] = made.spec.containers;
    const options = ['nosuid', 'nodev', 'private'];
    assert.deepEqual(mountsOf(container, plans, '/s'), [
      { destination: '/data', type: 'bind', source: '/s/v/1', options: ['bind', 'rw', ...options] },
      { destination: '/data/in', type: 'bind', source: '/s/v/0/a/b', options: ['bind', 'ro', ...options] },
      { destination: '/data/deep/er', type: 'bind', source: '/s/v/0', options: ['bind', 'ro', ...options] },
    ]);
  });
});
