/**
 * Where an IP address leads, and how exactly a lease has to name a host that leads there (§9.2, §14).
 *
 * A name says little about a place: whoever owns it can point it at this very machine, at its neighbours, or at the service that hands out
 * the machine's credentials. So the addresses are judged too, by their bytes, whatever notation they came in:
 *
 * | addresses | a lease allows them |
 * | --- | --- |
 * | public: all that is none of the below | by any pattern that covers the URL |
 * | internal: loopback, private (RFC 1918), shared (RFC 6598), unique local (RFC 4193) | by a pattern that spells the host out, as a name or as an address: an intranet has names |
 * | special: unspecified, link-local, multicast, broadcast, documentation, benchmarking, reserved, the well-known addresses of cloud metadata, and forms of IPv6 that hide an IPv4 address (compatible, translated, 6to4, Teredo, ISATAP, local NAT64) | by a pattern that spells the address out, for a URL that does too |
 *
 * A pattern with a wildcard anywhere in its host spells out nothing. Of IPv6 only `2000::/3` is
 * public, without its special parts. Two forms stand for the IPv4 address inside: mapped (`::ffff:0:0/96`), for the host connects to that,
 * and NAT64 (`64:ff9b::/96`), for networks without IPv4 see the public ones so.
 *
 * **Gotchas**
 *
 * A network that translates to IPv4 under a prefix of its own makes public addresses of private ones; only its administrator knows which.
 *
 * @since 0.1.0
 */
import { Option, Result } from "effect"
import { IpNetwork, NetAddress } from "effect/net"

/**
 * The kind of network that an address leads into.
 *
 * @category models
 * @since 0.1.0
 */
export type Reach = "public" | "internal" | "special"

const networks = (...prefixes: ReadonlyArray<string>) => prefixes.map(IpNetwork.fromStringUnsafe)

const metadata = networks(
  // Alibaba, Azure, and AWS and Google over IPv6; the others answer at link-local addresses.
  "100.100.100.200/32",
  "168.63.129.16/32",
  "fd00:ec2::/32",
  "fd20:ce::/32"
)

const internal = networks(
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "::1/128",
  "fc00::/7"
)

/** The special-purpose registries of IANA, apart from what is internal and from what they call globally reachable. */
const special = networks(
  "0.0.0.0/8",
  "169.254.0.0/16",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4",
  // Protocol assignments: Teredo, benchmarking, ORCHID.
  "2001::/23",
  "2001:db8::/32",
  "2002::/16",
  "3fff::/20"
)

const standIns = networks("::ffff:0:0/96", "64:ff9b::/96")

const globalUnicast = networks("2000::/3")

const within = (all: ReadonlyArray<IpNetwork.IpNetwork>, address: NetAddress.IpAddress): boolean =>
  all.some((network) => IpNetwork.contains(network, address))

/** The IPv4 address in the last four bytes. */
const lastFour = (address: NetAddress.Ipv6Address): NetAddress.Ipv4Address =>
  NetAddress.ipv4FromBytesUnsafe(new Uint8Array(NetAddress.ipv6ToOctets(address).slice(12)))

/** An interface identifier that says: tunnel this to the IPv4 address that follows (RFC 5214). */
const isIsatap = (address: NetAddress.Ipv6Address): boolean => {
  const segments = NetAddress.ipv6ToSegments(address)
  return (segments[4] & 0xfdff) === 0 && segments[5] === 0x5efe
}

/**
 * Where the address leads.
 *
 * @category predicates
 * @since 0.1.0
 */
export const reachOf = (address: NetAddress.IpAddress): Reach => {
  if (within(metadata, address)) return "special"
  if (within(internal, address)) return "internal"
  if (within(special, address)) return "special"
  if (NetAddress.isIpv4Address(address)) return "public"
  if (within(standIns, address)) return reachOf(lastFour(address))
  if (!within(globalUnicast, address)) return "special"
  return isIsatap(address) && reachOf(lastFour(address)) !== "public" ? "special" : "public"
}

/**
 * The address that a URL's host is, unless it is a name. The host is canonical (`CanonicalUrl`), so there is one way to write each address.
 *
 * @category conversions
 * @since 0.1.0
 */
export const literal = (host: string): Option.Option<NetAddress.IpAddress> =>
  Result.getSuccess(NetAddress.ipFromString(host.replace(/^\[(.*)\]$/, "$1")))

/**
 * What a lease has to say for a request to this host, whose addresses these are, to be sent: that the URL is `covered`, that its host is
 * `named` without a wildcard, or nothing that would help, and the request is `refused`.
 *
 * @category models
 * @since 0.1.0
 */
export type Demand = "covered" | "named" | "refused"

/**
 * All the addresses count: one answer that leads inside is enough to be judged by it, though the others may not. A name that mixes them is
 * made to be misread.
 *
 * @category predicates
 * @since 0.1.0
 */
export const demandOf = (host: string, addresses: ReadonlyArray<NetAddress.IpAddress>): Demand => {
  const reaches = new Set(addresses.map(reachOf))
  if (reaches.has("special")) return Option.isSome(literal(host)) ? "named" : "refused"
  return reaches.has("internal") ? "named" : "covered"
}
