/** The kinds of things that a sweep removes and reports. */
export const sweepKinds = [
  'superseded',
  'orphans',
  'staging',
  'members',
  'leases',
  'claims',
  'consumed',
  'extern',
  'content',
] as const
export type SweepKind = (typeof sweepKinds)[number]
