import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const BRIDGE = 'db-bridge'
const SERVER = '10.77.0.1'
const VOLUME = 'draftbridge'

/** One host of the cluster. `run`: the words before a command line that runs there. `mount`: the volume, at one path on all. */
export interface GlusterHost {
  readonly run: readonly string[]
  readonly mount: string
  /** The cable of its network. */
  link(state: 'up' | 'down'): void
}

// Each process gets a mount of its own on its host, as after a reboot. $0 is the mount point, $1 the host's name.
const ENTER = `
set -e
hostname "$1"; shift
mount -t proc proc /proc
mount -t tmpfs tmpfs /dev/shm
mount -t glusterfs -o log-file=/dev/null ${SERVER}:/${VOLUME} "$0"
exec "$@"`

const works = (program: string, ...words: readonly string[]): boolean => spawnSync(program, words).status === 0

const ip = (...words: readonly string[]): void => void execFileSync('ip', words, { stdio: 'pipe' })
const gluster = (...words: readonly string[]): void =>
  void execFileSync('gluster', ['--mode=script', 'volume', ...words], { stdio: 'pipe' })

/**
 * A GlusterFS server with one volume and hosts that mount it, each with network, mount, UTS, PID and IPC namespaces and a
 * /dev/shm of its own: they see of each other what two machines see. Needs root and Debian's glusterfs-server.
 */
export class GlusterHosts implements AsyncDisposable {
  readonly #dir = mkdtempSync(path.join(tmpdir(), 'draftbridge-gluster-'))
  readonly #daemon = spawn('glusterd', ['--no-daemon'], { stdio: 'ignore' })
  readonly hosts: readonly GlusterHost[]

  /** Why there can be none here; null where there can. */
  static whyNot(): string | null {
    if (process.getuid?.() !== 0) return 'hosts in namespaces need root'
    if (!works('glusterd', '--version')) return 'glusterfs-server is not installed'
    if (!works('ip', 'link', 'add', 'db-probe', 'type', 'veth'))
      return 'no network links can be made (iproute2, CAP_NET_ADMIN)'
    works('ip', 'link', 'del', 'db-probe')
    if (!works('unshare', '-m', '-u', '-p', '-i', '--fork', 'true')) return 'no namespaces can be made (CAP_SYS_ADMIN)'
    return works('test', '-c', '/dev/fuse') ? null : 'there is no /dev/fuse'
  }

  static async open(count: number): Promise<GlusterHosts> {
    const cluster = new GlusterHosts(count)
    await cluster.#start()
    return cluster
  }

  private constructor(count: number) {
    ip('link', 'add', BRIDGE, 'type', 'bridge')
    ip('addr', 'add', `${SERVER}/24`, 'dev', BRIDGE)
    ip('link', 'set', BRIDGE, 'up')
    this.hosts = Array.from({ length: count }, (_, at) => this.#host(at + 1))
  }

  /** Where the server keeps the files of the volume. */
  get brick(): string {
    return path.join(this.#dir, 'brick')
  }

  async #start(): Promise<void> {
    mkdirSync(this.brick)
    for (let tries = 60; spawnSync('gluster', ['pool', 'list']).status !== 0; tries -= 1) {
      if (tries === 0) throw new Error('glusterd does not answer')
      await sleep(500)
    }
    gluster('create', VOLUME, `${SERVER}:${this.brick}`, 'force')
    gluster('start', VOLUME)
  }

  #host(number: number): GlusterHost {
    const [name, cable] = [`db-host-${number}`, `db-cable-${number}`]
    const mount = path.join(this.#dir, 'shared')
    mkdirSync(mount, { recursive: true })
    ip('netns', 'add', name)
    ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
    ip('link', 'set', cable, 'master', BRIDGE, 'up')
    ip('-n', name, 'addr', 'add', `10.77.0.${10 + number}/24`, 'dev', 'eth0')
    for (const device of ['eth0', 'lo']) ip('-n', name, 'link', 'set', device, 'up')
    const namespaces = ['unshare', '-m', '-u', '-p', '-i', '--fork', '--kill-child', '--propagation', 'private']
    const run = ['ip', 'netns', 'exec', name, ...namespaces, 'bash', '-c', ENTER, mount, name]
    return { run, mount, link: (state) => ip('link', 'set', cable, state) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    spawnSync('gluster', ['--mode=script', 'volume', 'stop', VOLUME, 'force'])
    spawnSync('gluster', ['--mode=script', 'volume', 'delete', VOLUME])
    this.#daemon.kill('SIGTERM')
    await sleep(500)
    for (const at of this.hosts.keys()) spawnSync('ip', ['netns', 'del', `db-host-${at + 1}`])
    spawnSync('ip', ['link', 'del', BRIDGE])
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
