import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { EbbError } from '../platform/errors.ts';
import { digestOf } from './digest.ts';
import type { Descriptor } from './images.ts';
import { choosePlatform, describePlatforms, mediaTypes, parseConfig, parseManifest } from './manifest.ts';

const bytes = (value: unknown) => Buffer.from(JSON.stringify(value));
const d = (mediaType: string, platform?: Descriptor['platform']): Descriptor => ({
  mediaType,
  digest: digestOf(mediaType),
  size: 1,
  ...(platform ? { platform } : {}),
});
const image = { schemaVersion: 2, config: d(mediaTypes.ociConfig), layers: [d(mediaTypes.ociLayerGzip)] };
const index = { schemaVersion: 2, manifests: [d(mediaTypes.ociManifest, { os: 'linux', architecture: 'amd64' })] };

describe('manifests', () => {
  it('are read in the OCI and the Docker spelling', () => {
    assert.equal(parseManifest(bytes(image), mediaTypes.ociManifest).kind, 'image');
    const docker = { ...image, mediaType: mediaTypes.dockerManifest, config: d(mediaTypes.dockerConfig) };
    assert.equal(parseManifest(bytes(docker), `${mediaTypes.dockerManifest}; charset=utf-8`).kind, 'image');
    assert.equal(parseManifest(bytes(index), 'application/json').kind, 'index');
  });

  const bad: [string, unknown, RegExp][] = [
    ['schema 1', { ...image, schemaVersion: 1 }, /schemaVersion 1/],
    ['both kinds at once', { ...image, ...index }, /both/],
    ['another type than it was sent as', { ...image, mediaType: mediaTypes.ociIndex }, /sent as/],
    ['a size that is no size', { ...image, layers: [{ ...d('x'), size: -1 }] }, /layers\[0\]\.size/],
    [
      'a digest that is none',
      { ...image, config: { ...d(mediaTypes.ociConfig), digest: 'sha256:x' } },
      /config\.digest/,
    ],
    ['artifacts', { ...image, config: d('application/vnd.cncf.helm.config.v1+json') }, /artifact/],
    [
      'encrypted layers',
      { ...image, layers: [d('application/vnd.oci.image.layer.v1.tar+gzip+encrypted')] },
      /encrypted/,
    ],
    ['too many layers', { ...image, layers: Array.from({ length: 501 }, () => d('x')) }, /at most 500/],
    ['lists that are none', { ...image, layers: {} }, /layers must be a list/],
  ];
  for (const [name, document, words] of bad) {
    it(`with ${name} are refused`, () =>
      assert.throws(() => parseManifest(bytes(document), mediaTypes.ociManifest), {
        code: 'ImageCorrupt',
        message: words,
      }));
  }

  it('of any other shape are refused with ImageCorrupt', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json().map((text) => Buffer.from(text)),
          fc.uint8Array(),
          fc.json().map((j) => bytes({ ...image, layers: JSON.parse(j) as unknown })),
        ),
        (data) => {
          for (const parse of [() => parseManifest(data), () => parseConfig(data, 0)]) {
            try {
              parse();
            } catch (error) {
              assert.ok(error instanceof EbbError && error.code === 'ImageCorrupt', String(error));
            }
          }
        },
      ),
    );
  });
});

describe('configs', () => {
  const config = { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [digestOf('a')] } };

  it('lose the nulls that Docker writes', () => {
    const run = { User: '', Env: null, Cmd: ['a'], Entrypoint: null, Labels: null, Volumes: { '/x': {} } };
    assert.deepEqual(parseConfig(bytes({ ...config, config: run }), 1).config, { Cmd: ['a'], Volumes: { '/x': {} } });
  });

  it('must fit their manifest and hold nothing that breaks a process', () => {
    assert.throws(() => parseConfig(bytes(config), 2), { message: /1 rootfs.diff_ids for 2 layers/ });
    assert.throws(() => parseConfig(bytes({ ...config, os: undefined }), 1), { message: /os is missing/ });
    assert.throws(() => parseConfig(bytes({ ...config, config: { Env: ['A=\0'] } }), 1), { message: /NUL/ });
    assert.throws(() => parseConfig(bytes({ ...config, config: { Cmd: 'sh' } }), 1), { message: /Cmd must be a list/ });
  });
});

describe('platform choice', () => {
  const on = (architecture: string, variant?: string, os = 'linux') =>
    d(`${os}${architecture}${variant}`, { os, architecture, ...(variant ? { variant } : {}) });
  const choose = (wanted: { os: string; architecture: string; variant?: string }, ...all: Descriptor[]) =>
    choosePlatform(all, wanted)?.platform;

  it('takes what this machine runs', () => {
    const all = [on('arm64', 'v8'), on('amd64', 'v3'), on('amd64'), on('amd64', undefined, 'windows')];
    assert.deepEqual(choose({ os: 'linux', architecture: 'amd64' }, ...all), { os: 'linux', architecture: 'amd64' });
    assert.deepEqual(choose({ os: 'linux', architecture: 'arm64' }, ...all), {
      os: 'linux',
      architecture: 'arm64',
      variant: 'v8',
    });
    assert.equal(choose({ os: 'linux', architecture: 'riscv64' }, ...all), undefined);
    assert.equal(describePlatforms(all), 'linux/arm64/v8, linux/amd64/v3, linux/amd64, windows/amd64');
  });

  it('takes the highest 32-bit arm that fits', () => {
    const all = [on('arm', 'v5'), on('arm', 'v7'), on('arm', 'v6')];
    assert.equal(choose({ os: 'linux', architecture: 'arm', variant: 'v6' }, ...all)?.variant, 'v6');
    assert.equal(choose({ os: 'linux', architecture: 'arm' }, ...all)?.variant, 'v7');
  });

  it('passes attestations by', () => {
    const attestation = {
      ...on('unknown', undefined, 'unknown'),
      annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
    };
    assert.equal(choose({ os: 'linux', architecture: 'amd64' }, attestation), undefined);
  });
});
