import { hasCode } from '../core/errors.ts'
import { interrupted } from '../core/interruption.ts'
import { type ClaimOptions, claimFolder, type FolderClaim } from '../core/liveness/folder-claim.ts'
import type { RoleContext } from './context.ts'

/**
 * The right to do `work` in `dir`, for a command that runs once: a holder that cannot be seen from here is watched until
 * it is known to live or to be dead, because a command that failed at first sight would fail so each time. An event says
 * that it waits.
 * @throws STORE_BUSY when another process works here, INTERRUPTED when the waiting is cut short.
 */
export async function claimWork(
  dir: string,
  work: string,
  { signal, events }: Pick<RoleContext, 'signal' | 'events'>,
  options: Pick<ClaimOptions, 'memberId' | 'fence' | 'watch'> = {},
): Promise<FolderClaim> {
  let isAnnounced = false
  const onWait = ({ leftMs }: { readonly leftMs: number }) => {
    if (!isAnnounced) events.emit({ event: 'claim.waiting', folder: dir, seconds: Math.ceil(leftMs / 1000) })
    isAnnounced = true
  }
  try {
    return await claimFolder(dir, work, { ...options, wait: { signal, onWait } })
  } catch (error) {
    if (!signal.aborted || hasCode(error, 'STORE_BUSY')) throw error
    throw interrupted(`stopped while waiting for the process that works in ${dir}`, signal)
  }
}
