const may = {
  core: [],
  drafts: ['core'],
  config: ['core', 'drafts'],
  bridge: ['core'],
  report: ['core'],
  store: ['core', 'bridge'],
  refs: ['core', 'bridge', 'store'],
  train: ['core', 'bridge', 'store', 'refs'],
  launch: ['core', 'config'],
  roles: ['core', 'drafts', 'config', 'bridge', 'report', 'store', 'refs', 'train', 'launch'],
  cli: ['core', 'config', 'report', 'roles'],
}

const only = (name, from, to) => ({ name, severity: 'error', from: { path: '^src/', pathNot: from }, to: { path: to } })

const BEHIND_PORTS = '^src/store/(directory/|(blobs|coordination)/[^/]+/)'

module.exports = {
  forbidden: [
    ...Object.entries(may).map(([layer, below]) => ({
      name: `layer-${layer}`,
      severity: 'error',
      from: { path: `^src/${layer}/` },
      to: { path: '^src/', pathNot: `^src/(${[layer, ...below].join('|')})/` },
    })),
    // A folder of `drafts` is an architecture. One table lists them; none knows of another.
    only('architectures-are-listed-once', '^src/drafts/(registry\\.ts$|[^/]+/)', '^src/drafts/[^/]+/'),
    {
      name: 'architectures-are-independent',
      severity: 'error',
      from: { path: '^src/drafts/([^/]+)/' },
      to: { path: '^src/drafts/[^/]+/', pathNot: '^src/drafts/$1/' },
    },
    only('one-door-to-python', '^src/bridge/python\\.ts$', 'node_modules/pymport'),
    // A folder below a port of the store is an implementation of it. One table chooses them; none knows of another.
    only(
      'store-ports-are-chosen-once',
      `^src/store/(kinds|open-for-maintenance|file-system)\\.ts$|${BEHIND_PORTS}`,
      BEHIND_PORTS,
    ),
    {
      name: 'store-implementations-are-leaves',
      severity: 'error',
      from: { path: '^src/store/(blobs|coordination)/([^/]+)/' },
      to: { path: '^src/store/(blobs|coordination)/[^/]+/', pathNot: '^src/store/$1/$2/' },
    },
    // Coordination knows nothing of blobs, and blobs know the port of coordination only.
    {
      name: 'store-coordination-stands-alone',
      severity: 'error',
      from: { path: '^src/store/coordination/' },
      to: { path: '^src/store/', pathNot: '^src/store/(coordination/|directory/|blob-key\\.ts$|serial-queue\\.ts$)' },
    },
    {
      name: 'store-blobs-know-ports-only',
      severity: 'error',
      from: { path: '^src/store/blobs/' },
      to: {
        path: '^src/store/',
        pathNot: '^src/store/(blobs/|directory/|auth/|blob-key\\.ts$|coordination/(coordination|notes)\\.ts$)',
      },
    },
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
