const may = {
  core: [],
  config: ['core'],
  bridge: ['core'],
  report: ['core'],
  store: ['core', 'bridge'],
  refs: ['core', 'bridge', 'store'],
  train: ['core', 'bridge', 'store', 'refs'],
  launch: ['core', 'config'],
  roles: ['core', 'config', 'bridge', 'report', 'store', 'refs', 'train', 'launch'],
  cli: ['core', 'config', 'report', 'roles'],
}

const only = (name, from, to) => ({ name, severity: 'error', from: { path: '^src/', pathNot: from }, to: { path: to } })

module.exports = {
  forbidden: [
    ...Object.entries(may).map(([layer, below]) => ({
      name: `layer-${layer}`,
      severity: 'error',
      from: { path: `^src/${layer}/` },
      to: { path: '^src/', pathNot: `^src/(${[layer, ...below].join('|')})/` },
    })),
    only('one-door-to-python', '^src/bridge/python\\.ts$', 'node_modules/pymport'),
    only('backends-are-leaves', '^src/store/(open\\.ts$|backends/)', '^src/store/backends/'),
    only('one-starter-of-processes', '^src/launch/', 'node_modules/execa'),
    only('one-parser-of-argv', '^src/cli/', 'node_modules/commander'),
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
  },
}
