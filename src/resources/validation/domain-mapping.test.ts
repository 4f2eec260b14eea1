import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DomainMapping } from '../domain-mapping.ts';
import { fieldErrorsText } from '../field-error.ts';
import { validateDomainMapping } from './domain-mapping.ts';

const check = (name: string, ref: Partial<DomainMapping['spec']['ref']> = {}, metadata = {}) =>
  fieldErrorsText(
    validateDomainMapping({
      apiVersion: 'serving.knative.dev/v1beta1',
      kind: 'DomainMapping',
      metadata: { name, namespace: 'default', ...metadata },
      spec: { ref: { apiVersion: 'serving.knative.dev/v1', kind: 'Service', name: 'hello', ...ref } },
    }),
  );

describe('validation of a DomainMapping', () => {
  const cases: [what: string, text: string, expected: RegExp][] = [
    ['a domain', check('shop.example.com'), /^$/],
    ['a word', check('shop'), /invalid name "shop": should be a domain with at least two segments/],
    ['no domain', check('Shop.example.com'), /metadata\.name/],
    ['the inside', check('a.b.svc.cluster.local'), /must not be a subdomain of cluster local domain/],
    ['a made-up name', check('a.example.com', {}, { generateName: 'a' }), /metadata\.generateName/],
    ['no name', check('a.example.com', { name: '' }), /missing field\(s\): spec\.ref\.name/],
    ['no version', check('a.example.com', { apiVersion: '' }), /missing field\(s\): spec\.ref\.apiVersion/],
    ['elsewhere', check('a.example.com', { namespace: 'x' }), /mismatched namespaces: spec\.ref\.namespace/],
  ];
  for (const [what, text, expected] of cases) it(what, () => assert.match(text, expected));
});
