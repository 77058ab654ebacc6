import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../../src/launch/machine.ts'

/** A real Slurm on this machine: a controller, and a daemon for each of its nodes, all of which are this machine. */
export class Slurm implements AsyncDisposable {
  readonly #dir: string
  readonly #daemons: readonly ChildProcess[]

  /** Why there can be none here; null where there can. */
  static whyNot(): string | null {
    if (process.getuid?.() !== 0) return 'the daemons of Slurm need root'
    return spawnSync('slurmctld', ['-V']).status === 0 ? null : 'slurm-wlm is not installed'
  }

  static async open(nodes: number): Promise<Slurm> {
    const dir = mkdtempSync(path.join(tmpdir(), 'draftbridge-slurm-'))
    const ports = await Promise.all(Array.from({ length: nodes + 1 }, () => freePort()))
    writeFileSync(path.join(dir, 'slurm.conf'), configOf(dir, ports))
    const slurm = new Slurm(dir, nodes)
    for (let look = 0; look < 100; look += 1) {
      const idle = spawnSync('sinfo', ['-h', '-N', '-t', 'idle'], { env: slurm.env }).stdout.toString()
      if (idle.trim().split('\n').filter(Boolean).length === nodes) return slurm
      await sleep(200)
    }
    await slurm[Symbol.asyncDispose]()
    throw new Error('the nodes of Slurm did not come up')
  }

  private constructor(dir: string, nodes: number) {
    this.#dir = dir
    const start = (program: string, ...args: readonly string[]) =>
      spawn(program, ['-D', ...args], { env: this.env, stdio: 'ignore' })
    const names = Array.from({ length: nodes }, (_, node) => `n${node + 1}`)
    this.#daemons = [start('slurmctld'), ...names.map((name) => start('slurmd', '-N', name))]
  }

  /** For every command of Slurm. */
  get env(): NodeJS.ProcessEnv {
    return { ...process.env, SLURM_CONF: path.join(this.#dir, 'slurm.conf') }
  }

  /** Gives the number of the job. */
  submit(script: string): string {
    return this.#ask('sbatch', '--parsable', script).trim()
  }

  /** The states of its components that are still queued or at work. */
  states(job: string): readonly string[] {
    return this.#ask('squeue', '-h', '-o', '%T %r', '-j', job).split('\n').filter(Boolean)
  }

  /** Slurm waits for two minutes before it starts a job again. */
  startNow(job: string): void {
    for (const component of [job, `${job}+1`]) this.#ask('scontrol', 'update', `JobId=${component}`, 'StartTime=now')
  }

  #ask(program: string, ...args: readonly string[]): string {
    return execFileSync(program, args, { env: this.env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    spawnSync('scancel', ['--full', '--user=root'], { env: this.env })
    await sleep(500)
    for (const daemon of this.#daemons) daemon.kill('SIGKILL')
    await sleep(500)
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

/** As Slurm takes it: without a domain. */
const host = hostname().split('.')[0] ?? 'localhost'

const configOf = (dir: string, [controller, ...nodes]: readonly number[]): string => `
ClusterName=draftbridge
SlurmctldHost=${host}(127.0.0.1)
SlurmctldPort=${controller}
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation=${dir}/state
SlurmdSpoolDir=${dir}/spool.%n
SlurmctldPidFile=${dir}/slurmctld.pid
SlurmdPidFile=${dir}/slurmd.%n.pid
SlurmctldLogFile=${dir}/slurmctld.log
SlurmdLogFile=${dir}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
${nodes.map((port, node) => `NodeName=n${node + 1} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${port} CPUs=1`).join('\n')}
PartitionName=all Nodes=ALL Default=YES State=UP
`
