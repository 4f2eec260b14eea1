import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DomainMapping, Route } from '../../resources/index.ts';
import { conditionOf, readiness } from '../conditions.ts';
import type { PublishedRoute } from '../ports.ts';
import { planDomainMapping, type DomainMappingObservation } from './plan.ts';

const mapping = (
  name: string,
  ref: Partial<DomainMapping['spec']['ref']> = {},
  more: Partial<DomainMapping['metadata']> = {},
): DomainMapping => ({
  apiVersion: 'serving.knative.dev/v1beta1',
  kind: 'DomainMapping',
  metadata: { name, namespace: 'default', generation: 2, creationTimestamp: '2026-01-02T00:00:00Z', ...more },
  spec: { ref: { apiVersion: 'serving.knative.dev/v1', kind: 'Service', name: 'hello', ...ref } },
});
const route: Route = {
  apiVersion: 'serving.knative.dev/v1',
  kind: 'Route',
  metadata: { name: 'hello', namespace: 'default' },
  spec: {},
};
const host = (label: string): PublishedRoute => ({
  host: `${label}.default.svc.cluster.local`,
  namespace: 'default',
  route: 'hello',
  targets: [{ revision: `default/${label}-00001`, percent: 100 }],
});

function plan(of: DomainMapping, more: Partial<DomainMappingObservation> = {}) {
  const { changes, hosts } = planDomainMapping({
    mapping: of,
    claimants: [of],
    route,
    hosts: [host('hello'), host('next-hello')],
    names: { domain: 'localhost', port: 8080 },
    now: '2026-02-01T00:00:00Z',
    ...more,
  });
  const object = (changes[0] && 'object' in changes[0] ? changes[0].object : of) as DomainMapping;
  return { hosts, object, changes, reason: (type: string) => conditionOf(object, type)?.reason };
}

describe('planDomainMapping', () => {
  it('serves the domain as the host of the referent is served', () => {
    const { hosts, object } = plan(mapping('shop.example.com'));
    assert.deepEqual(hosts, [{ ...host('hello'), host: 'shop.example.com' }]);
    assert.equal(readiness(object), 'True');
    assert.equal(object.status?.url, 'http://shop.example.com:8080');
    assert.equal(object.status?.observedGeneration, 2);
    assert.deepEqual(plan(object).changes, []);
    const asRoute = plan(mapping('shop.example.com', { kind: 'Route' }));
    assert.equal(asRoute.hosts.length, 1);
    const asName = plan(mapping('shop.example.com', { apiVersion: 'v1', name: 'next-hello' }));
    assert.equal(asName.hosts[0]?.targets[0]?.revision, 'default/next-hello-00001');
  });

  it('gives a domain to the oldest claim, and hosts of routes to nobody', () => {
    const older = mapping('shop.example.com', {}, { namespace: 'other', creationTimestamp: '2026-01-01T00:00:00Z' });
    const mine = mapping('shop.example.com');
    const late = plan(mine, { claimants: [mine, older] });
    assert.deepEqual([late.hosts, late.reason('DomainClaimed')], [[], 'DomainAlreadyClaimed']);
    assert.equal(readiness(late.object), 'False');
    assert.equal(plan(older, { claimants: [mine, older] }).reason('DomainClaimed'), undefined);
    assert.equal(plan(mapping('hello.default.localhost')).reason('DomainClaimed'), 'DomainClaimFailed');
    assert.equal(readiness(plan(mapping('shop.localhost')).object), 'True');
  });

  it('says what it cannot find, and waits for what is not served yet', () => {
    const missing = plan(mapping('a.example.com'), { route: undefined, hosts: [] });
    assert.equal(missing.reason('ReferenceResolved'), 'ResolveFailed');
    assert.match(
      conditionOf(missing.object, 'Ready')?.message ?? '',
      /services\.serving\.knative\.dev "hello" not found/,
    );
    const tag = mapping('a.example.com', { name: 'next-hello' });
    assert.equal(plan(tag).reason('ReferenceResolved'), 'ResolveFailed');
    const broker = plan(mapping('a.example.com', { apiVersion: 'eventing.knative.dev/v1', kind: 'Broker' }));
    assert.match(
      conditionOf(broker.object, 'Ready')?.message ?? '',
      /brokers\.eventing\.knative\.dev "hello" has no address/,
    );
    const waiting = plan(mapping('a.example.com'), { hosts: [] });
    assert.deepEqual([readiness(waiting.object), waiting.reason('IngressReady')], ['Unknown', 'IngressNotConfigured']);
  });
});
