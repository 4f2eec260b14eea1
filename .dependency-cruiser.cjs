// The layers of the house: imports point downwards only (see ARCHITECTURE.md).
// Each entry: a folder of src/ and the other folders of src/ that it may import.
const layers = {
  platform: [],
  resources: ['platform'],
  store: ['resources', 'platform'],
  images: ['platform'],
  autoscaler: ['platform'],
  gateway: ['platform'],
  builder: ['images', 'platform'],
  engine: ['images', 'resources', 'platform'],
  apiserver: ['store', 'resources', 'platform'],
  controllers: ['store', 'resources', 'platform'],
  doctor: ['platform'],
  control: [
    'apiserver',
    'controllers',
    'autoscaler',
    'gateway',
    'engine',
    'builder',
    'images',
    'store',
    'resources',
    'doctor',
    'platform',
  ],
  cli: ['platform', 'doctor'],
};

const layerRules = Object.entries(layers).map(([folder, allowed]) => ({
  name: `${folder}-imports-downwards`,
  severity: 'error',
  from: { path: `^src/${folder}/`, pathNot: '\\.test\\.ts$' },
  to: { path: '^src/', pathNot: [folder, ...allowed].map((f) => `^src/${f}/`) },
}));

module.exports = {
  forbidden: [
    ...layerRules,
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'not-to-unresolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'no-dev-dependencies-in-src',
      severity: 'error',
      from: { path: '^src/', pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['npm-dev'], pathNot: '@types' },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
