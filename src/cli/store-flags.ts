import type { Command } from 'commander'
import type { Waiting } from '../core/liveness/watch.ts'
import type { StoreLocation } from '../roles/maintain/store-location.ts'
import { DEFAULT_CONFIG, type RunFlags, withConfigFlags } from './flags.ts'

export interface StoreFlags extends RunFlags {
  readonly store?: string
  readonly keyFile?: string
  readonly manifest: readonly string[]
  readonly dryRun?: boolean
}

export function withStoreFlags(command: Command): Command {
  return withConfigFlags(command)
    .option(
      '--store <dir>',
      `the folder of the store; default: store.root of -c FILE, or of ${DEFAULT_CONFIG} in this folder`,
    )
    .option('--key-file <file>', 'the file with the key of the store; default: DRAFTBRIDGE_STORE_KEY')
}

export function withManifestFlag(command: Command, what: string): Command {
  const collect = (value: string, before: readonly string[]): string[] => [...before, value]
  return command.option('--manifest <dir>', what, collect, [])
}

/** The store that the flags name. `--store` wins over a config in the current folder. */
export async function storeLocation(flags: StoreFlags, command: Command): Promise<StoreLocation> {
  const root = flags.store ?? null
  if (root !== null) return { root, config: null, keyFile: flags.keyFile ?? null }
  const { optionalConfig } = await import('./sessions/optional-config.ts')
  const config = await optionalConfig(flags, command.getOptionValueSource('config') === 'cli')
  return { root, config, keyFile: flags.keyFile ?? null }
}

/** Says once on stderr that members of a store are watched. */
export function waitNotice({ quiet }: StoreFlags): (waiting: Waiting) => void {
  let isSaid = quiet === true
  return ({ holders, leftMs }) => {
    if (isSaid) return
    isSaid = true
    const who = holders.length === 1 ? '1 member' : `${holders.length} members`
    const seconds = Math.ceil(leftMs / 1000)
    process.stderr.write(`watching ${who} of the store that cannot be seen from here, up to ${seconds} s\n`)
  }
}

/** `90s`, `15m`, `1h`, `2d` in milliseconds; null for anything else. */
export function milliseconds(text: string): number | null {
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)(s|m|h|d)$/.exec(text) ?? []
  const seconds = { s: 1, m: 60, h: 3600, d: 86_400 }[unit]
  return amount === undefined || seconds === undefined ? null : Number(amount) * seconds * 1000
}
