import { type Mount, mountOf } from './directory/mount-of.ts'
import { probeMount } from './directory/mount-probe.ts'

/**
 * Tries in `dir`, an empty folder, all that a store needs of a file system, with a second process too. The mount that it
 * lies on; null where the kernel does not say. @throws STORE_UNAVAILABLE naming what is missing.
 */
export async function tryFileSystem(dir: string): Promise<Mount | null> {
  await probeMount(dir, true)
  return mountOf(dir)
}
