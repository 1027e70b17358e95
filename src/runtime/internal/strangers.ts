/**
 * The places of those who have not said who they are: so many in all, and fewer of them for whoever comes from one address, so that nobody
 * keeps all others out by saying nothing.
 */
import { Option } from "effect"
import { NetAddress } from "effect/net"
import * as NetworkAddress from "../../authority/NetworkAddress.ts"

export interface Strangers {
  readonly most: number
  readonly mostPerAddress: number
  total: number
  readonly byAddress: Map<string, number>
}

export const make = (most: number, mostPerAddress: number): Strangers => ({
  most,
  mostPerAddress,
  total: 0,
  byAddress: new Map()
})

/** Of IPv6 the first half: whoever has one address of a network has all of it. */
const networkOf = (address: NetAddress.IpAddress): string => {
  if (NetAddress.isIpv4Address(address)) return NetAddress.ipv4ToOctets(address).join(".")
  const octets = NetAddress.ipv6ToOctets(address)
  const isMapped = octets.slice(0, 10).every((octet) => octet === 0) && octets[10] === 255 && octets[11] === 255
  return isMapped ? octets.slice(12).join(".") : NetAddress.ipv6ToSegments(address).slice(0, 4).join(":")
}

/** Where a peer with an address and a port comes from. Others have none, such as those in memory, and are not told apart. */
export const addressOf = (peer: string): string | undefined => {
  const host = /^(.+):\d+$/.exec(peer)?.[1]
  return host === undefined
    ? undefined
    : Option.match(NetworkAddress.literal(host), { onNone: () => host, onSome: networkOf })
}

/** Takes a place, unless there is none for this peer; gives how to leave it, once. */
export const enter = (self: Strangers, peer: string): (() => void) | undefined => {
  const address = addressOf(peer)
  const there = address === undefined ? 0 : (self.byAddress.get(address) ?? 0)
  if (self.total >= self.most || there >= self.mostPerAddress) return undefined
  self.total++
  if (address === undefined) return () => void self.total--
  self.byAddress.set(address, there + 1)
  return () => {
    self.total--
    const left = self.byAddress.get(address)! - 1
    if (left === 0) self.byAddress.delete(address)
    else self.byAddress.set(address, left)
  }
}
