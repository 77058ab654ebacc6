import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RunConfig } from '../../src/config/schema.ts'
import { colocate } from '../../src/roles/train/colocate.ts'
import { type Ended, type Started, startedBehind } from '../support/cli.ts'
import { type GlusterHost, GlusterHosts } from '../support/gluster-hosts.ts'
import { tempDir } from '../support/temp-dir.ts'
import { checkpointOf, differingBits, trainingConfig, trainingInputs, untilStep, watched } from '../support/training.ts'

const [EPOCHS, LAST] = [16, 40]
/** It takes 9 s at most; other tests may keep this machine busy. */
const NOTICED_S = 15
const JOB_MS = 300_000

const whyNot = GlusterHosts.whyNot()
if (whyNot !== null) it('two pools on several hosts', (context) => context.skip(whyNot))

/**
 * Hosts that share nothing but a GlusterFS volume: each has a network, process ids, a host name and a /dev/shm of its own.
 * `rcli` is played by the test: it runs one line on each host and sets RCLI_NODE_RANK and RCLI_NUM_NODES.
 */
describe.skipIf(whyNot !== null)('two pools on hosts that share a GlusterFS volume', () => {
  let dir: string
  let cluster: GlusterHosts
  let baseline: string

  beforeAll(async () => {
    dir = await tempDir()
    await trainingInputs(dir)
    const given = trainingConfig(dir, { name: 'colocated', ranks: 2, epochs: EPOCHS, local: true })
    const config = { ...given, launch: { ...given.launch, threadsPerRank: 1 } }
    baseline = (await colocate(config, watched())).checkpoint
    cluster = await GlusterHosts.open(4)
  }, JOB_MS)
  afterAll(() => cluster[Symbol.asyncDispose]())

  /** A config for `producers` and two nodes that train, with all that is shared on the volume. */
  async function job(name: string, producers: number): Promise<{ config: RunConfig; file: string }> {
    const given = trainingConfig(dir, { name, ranks: 2, epochs: EPOCHS, save: 5 })
    const shared = path.join((cluster.hosts[0] as GlusterHost).mount, name)
    const config = {
      ...given,
      run: { ...given.run, dir: path.join(shared, 'run') },
      store: { ...given.store, root: path.join(shared, 'store') },
      manifest: path.join(shared, 'manifest'),
      launch: { ...given.launch, producers, ranksPerNode: 1, threadsPerRank: 1, peerTimeoutSeconds: 120 },
    }
    const file = path.join(dir, `${name}.json`)
    await writeFile(file, JSON.stringify(config))
    return { config, file }
  }

  /** What `rcli exec --per-node 'draftbridge run -c FILE'` does on the first `nodes` hosts. */
  const perNode = (file: string, nodes: number): readonly Started[] =>
    cluster.hosts.slice(0, nodes).map(({ run }, rank) => {
      const env = { RCLI_NODE_RANK: String(rank), RCLI_NUM_NODES: String(nodes), RCLI_HEAD_IP: '10.77.0.11' }
      return startedBehind(run, env, 'run', '-c', file)
    })

  /** Bits in which the weights and the optimiser state of the run differ from those of the colocated run. */
  const bits = (config: RunConfig): Promise<number> => differingBits(baseline, checkpointOf(inBrick(config), LAST))

  /** The run folder. The volume is mounted on the hosts only; here its files are seen where the server keeps them. */
  const inBrick = ({ run }: RunConfig): string => path.join(cluster.brick, path.basename(path.dirname(run.dir)), 'run')

  it.each([
    ['one producer', 1],
    ['two producers', 2],
  ])(
    '%s and two nodes that train end with the bits of the colocated run',
    { timeout: JOB_MS },
    async (name, producers) => {
      const { config, file } = await job(name.replace(' ', '-'), producers)
      const ended = await Promise.all(perNode(file, producers + 2).map((one) => one.ended))
      expect(ended.map(outcome)).toEqual(ended.map(() => 'well'))
      expect(ended[producers]?.stderr).toMatch(
        /2 nodes train together .* training node 0 on db-host-\d: 1 rank .* meeting at 10\.77\.0\./,
      )
      expect(await bits(config)).toBe(0)
    },
  )

  it('a node whose network goes down ends all in time, and the next start ends with the same bits', {
    timeout: JOB_MS,
  }, async () => {
    const { config, file } = await job('cut-off', 1)
    const started = perNode(file, 3)
    await untilStep(inBrick(config), 6)
    const begun = performance.now()
    cluster.hosts[2]?.link('down')
    try {
      const { code, stderr } = await (started[1] as Started).ended
      expect((performance.now() - begun) / 1000).toBeLessThan(NOTICED_S)
      expect([code, stderr]).toEqual([69, expect.stringContaining('nothing was heard of it for 6 s')])
    } finally {
      cluster.hosts[2]?.link('up')
    }
    expect((await (started[2] as Started).ended).code).toBe(69)
    const again = await Promise.all(perNode(file, 3).map((one) => one.ended))
    expect(again.map(outcome)).toEqual(['well', 'well', 'well'])
    expect(await bits(config)).toBe(0)
  })

  it('a host that is switched off ends the others in time, who name it', { timeout: JOB_MS }, async () => {
    const { config, file } = await job('switched-off', 1)
    const started = perNode(file, 3)
    await untilStep(inBrick(config), 6)
    const begun = performance.now()
    // All processes of the host go with the first process of its PID namespace.
    started[2]?.child.kill('SIGKILL')
    const { code, stderr } = await (started[1] as Started).ended
    expect((performance.now() - begun) / 1000).toBeLessThan(NOTICED_S)
    expect([code, stderr]).toEqual([69, expect.stringMatching(/training node 1 \(db-host-3\) has failed/)])
    const again = await Promise.all(perNode(file, 3).map((one) => one.ended))
    expect(again.map(outcome)).toEqual(['well', 'well', 'well'])
    expect(await bits(config)).toBe(0)
  })
})

const outcome = ({ code, stderr }: Ended): string => (code === 0 ? 'well' : stderr)
