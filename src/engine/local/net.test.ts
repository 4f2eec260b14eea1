import { test } from 'node:test';
import assert from 'node:assert/strict';
import { firewall, networkNames } from './network.ts';
import { formatAddress, formatSubnet, hostRange, overlaps, parseSubnet, pickSubnet } from './subnet.ts';

test('subnets', () => {
  const subnet = parseSubnet('10.70.16.0/20');
  assert.equal(formatSubnet(subnet), '10.70.16.0/20');
  assert.equal(formatAddress(subnet.base + 258), '10.70.17.2');
  assert.deepEqual(hostRange(subnet), { first: 2, last: 4094 });
  for (const text of ['10.70.16.1/20', '10.0.0.0/8', '10.0.0.0/25', 'x', '300.0.0.0/16', '10.0.0.0'])
    assert.throws(() => parseSubnet(text), { code: 'InvalidSubnet' }, text);
  assert.ok(overlaps(parseSubnet('10.70.0.0/16'), subnet) && overlaps(subnet, parseSubnet('10.70.0.0/16')));
  assert.ok(!overlaps(parseSubnet('10.71.0.0/16'), subnet));
});

test('a subnet steps aside for one that is taken', () => {
  const first = pickSubnet('abc123', []);
  assert.deepEqual(pickSubnet('abc123', []), first);
  const second = pickSubnet('abc123', [first]);
  assert.ok(!overlaps(first, second));
  assert.throws(() => pickSubnet('x', [{ base: 10 * 2 ** 24, prefix: 8 }]), { code: 'NoFreeSubnet' });
});

test('interface names fit, and the firewall names the ports that are open', () => {
  const names = networkNames('abcdef');
  assert.ok(names.bridge.length <= 15 && `${names.veth}65534`.length <= 15);
  const rules = firewall(names, parseSubnet('10.70.16.0/20'), [8080]);
  assert.match(rules, /tcp dport \{ 8080 \} accept/);
  assert.match(rules, /ip daddr 169\.254\.0\.0\/16 reject/);
  assert.doesNotMatch(firewall(names, parseSubnet('10.70.16.0/20'), []), /dport/);
});
