import assert from 'node:assert/strict';
import { it } from 'node:test';
import { toolEnvironment } from './environment.ts';

it('keeps proxies and registries, drops what `npm run` set for its own script', () => {
  const env = toolEnvironment({
    ...{ PATH: '/bin', HTTPS_PROXY: 'p', npm_config_registry: 'r', PIP_INDEX_URL: 'i', gone: undefined },
    ...{
      npm_package_json: 'x',
      npm_lifecycle_event: 'x',
      npm_config_local_prefix: 'x',
      npm_execpath: 'x',
      INIT_CWD: 'x',
    },
    ...{ NODE_OPTIONS: 'x', NODE_ENV: 'x', PYTHONPATH: 'x' },
  });
  assert.deepEqual(env, {
    ...{ PATH: '/bin', HTTPS_PROXY: 'p', npm_config_registry: 'r', PIP_INDEX_URL: 'i' },
    ...{ LC_ALL: 'C.UTF-8', CI: 'true', NO_COLOR: '1' },
  });
});
