/** What a sweep removes, and tells apart in its report. */
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
