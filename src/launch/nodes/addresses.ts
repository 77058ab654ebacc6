import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'

interface Bearer {
  readonly name: string
  readonly address: string
  readonly internal: boolean
}

/** Addresses of this machine that others may reach, then the loopback address, for nodes that share a machine. */
export function ownAddresses(): readonly string[] {
  const outside = bearers().filter(({ internal, address }) => !internal && !address.startsWith('fe80:'))
  return [...outside.map(({ address }) => address), '127.0.0.1']
}

/** The network interface of this machine that has the address; null for an address of another machine or a name. */
export function interfaceOf(address: string | null): string | null {
  const plain = address?.replace(/^::ffff:/, '')
  return bearers().find((one) => one.address === plain)?.name ?? null
}

function bearers(): readonly Bearer[] {
  return Object.entries(networkInterfaces()).flatMap(([name, found = []]) =>
    found.map(({ address, internal }) => ({ name, address, internal })),
  )
}

/**
 * The network interface of this machine on the way to an address; null when there is no way, or it is not known.
 * `loopback`: whether it may be that of the machine itself, which others cannot reach. A host's own name may lead there.
 */
export async function interfaceTowards(host: string, port: number, loopback: boolean): Promise<string | null> {
  const name = await onTheWay(host, port)
  const isInside = bearers().some((one) => one.name === name && one.internal)
  return isInside && !loopback ? interfaceOf(ownAddresses()[0] ?? null) : name
}

function onTheWay(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
    const end = (name: string | null) => {
      socket.close()
      resolve(name)
    }
    socket.once('error', () => end(null))
    // Sends nothing: the kernel only chooses the way.
    socket.connect(port, host, () => end(interfaceOf(socket.address().address)))
  })
}
