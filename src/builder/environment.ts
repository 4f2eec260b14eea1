/**
 * The environment for a build tool: `env` without what an `npm run` around Ebb puts there for its own script, which
 * would make an npm inside work on the wrong project.
 */
export function toolEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined || ofNpmRun.test(name)) continue;
    kept[name] = value;
  }
  return { ...kept, LC_ALL: 'C.UTF-8', CI: 'true', NO_COLOR: '1' };
}

const ofNpmRun =
  /^(npm_(package|lifecycle)_.*|npm_config_(local_prefix|global_prefix|prefix|omit|include|dry_run|node_gyp)|npm_(command|execpath|node_execpath)|INIT_CWD|NODE_OPTIONS|NODE_ENV|PYTHON(PATH|HOME|STARTUP))$/i;
