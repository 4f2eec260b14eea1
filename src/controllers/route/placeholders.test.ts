import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CoreService, Route, TrafficTarget } from '../../resources/index.ts';
import { placeholderNames, planPlaceholders, type PlaceholderChange } from './placeholders.ts';

const names = { domain: 'localhost', port: 8080 };
const tagged = (...tags: string[]): TrafficTarget[] => tags.map((tag) => ({ revisionName: 'r', tag }));
const route = (statusTags: string[] = [], more: Partial<Route['metadata']> = {}): Route => ({
  apiVersion: 'serving.knative.dev/v1',
  kind: 'Route',
  metadata: { name: 'hello', namespace: 'default', uid: 'u', ...more },
  spec: {},
  status: { traffic: tagged(...statusTags) },
});

/** Plans, and has the plan carried out on `services`. */
function settle(
  services: Map<string, CoreService>,
  of: Route,
  traffic: TrafficTarget[] | undefined,
  isOwn = (_label: string) => true,
): string[] {
  const plan = planPlaceholders({ route: of, traffic, isOwn, names, existing: (name) => services.get(name) });
  for (const change of plan) {
    const { name } = change.object.metadata;
    if (change.do === 'delete') services.delete(name);
    else services.set(name, change.object);
  }
  return plan.map((c: PlaceholderChange) => `${c.do} ${c.object.metadata.name}`);
}

describe('placeholders of a route', () => {
  it('are one for the route and one for each tag, with its labels and annotations', () => {
    const services = new Map<string, CoreService>();
    const annotations = { a: '1', 'kubectl.kubernetes.io/last-applied-configuration': '{}' };
    const hello = route([], { labels: { l: '1' }, annotations });
    assert.deepEqual(settle(services, hello, tagged('next', 'next')), ['create hello', 'create next-hello']);
    const made = services.get('next-hello');
    assert.deepEqual(made?.metadata.labels, { l: '1', 'serving.knative.dev/route': 'hello' });
    assert.deepEqual(made?.metadata.annotations, { a: '1' });
    assert.equal(made?.spec?.externalName, 'next-hello.default.localhost');
    assert.equal(made?.metadata.ownerReferences?.[0]?.uid, 'u');
    assert.deepEqual(settle(services, hello, tagged('next')), []);
    const local = route([], { labels: { 'networking.knative.dev/visibility': 'cluster-local' } });
    assert.deepEqual(settle(services, local, undefined), ['update hello']);
    assert.equal(services.get('hello')?.spec?.externalName, 'hello.default.svc.cluster.local');
  });

  it('go with their tag, as long as the status still knows it', () => {
    const services = new Map<string, CoreService>();
    settle(services, route(), tagged('a', 'b'));
    assert.deepEqual(settle(services, route(['a', 'b']), tagged('b')), ['delete a-hello']);
    assert.deepEqual(placeholderNames({ route: route(['a']), traffic: tagged('b') }), ['hello', 'a-hello', 'b-hello']);
  });

  it('change hands with the label, and are not deleted by whose they no longer are', () => {
    const services = new Map<string, CoreService>();
    settle(services, route(), tagged('a'));
    const taker = route([], { name: 'a-hello', uid: 'other' });
    assert.deepEqual(settle(services, taker, undefined), ['update a-hello']);
    const isOwn = (label: string) => label === 'hello';
    assert.deepEqual(settle(services, route(['a']), tagged('a'), isOwn), []);
    assert.deepEqual(settle(services, route(['a']), undefined, isOwn), []);
    assert.deepEqual([...services.keys()], ['hello', 'a-hello']);
  });
});
