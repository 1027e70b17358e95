import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Option, Schema } from "effect"
import { NetAddress } from "effect/net"
import * as Net from "node:net"
import * as NetworkAddress from "../../src/authority/NetworkAddress.ts"

const ip = NetAddress.ipFromStringUnsafe
const reachOf = (text: string) => NetworkAddress.reachOf(ip(text))

const Byte = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
const bytes = (length: number) =>
  Arbitrary.schema(Schema.Array(Byte).check(Schema.isMinLength(length), Schema.isMaxLength(length)))

/** The registries of IANA in another implementation, on text: `net.BlockList` of Node. */
const blockList = (...subnets: ReadonlyArray<string>) => {
  const list = new Net.BlockList()
  for (const subnet of subnets) {
    const [address = "", prefix] = subnet.split("/")
    list.addSubnet(address, Number(prefix), Net.isIPv6(address) ? "ipv6" : "ipv4")
  }
  return list
}

const internal4 = blockList("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
const special4 = blockList(
  "0.0.0.0/8",
  "100.100.100.200/32",
  "168.63.129.16/32",
  "169.254.0.0/16",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/3"
)
const public6 = blockList("2000::/3")
const special6 = blockList("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
const internal6 = blockList("::1/128", "fc00::/7")
const metadata6 = blockList("fd00:ec2::/32", "fd20:ce::/32")

const expected4 = (text: string): NetworkAddress.Reach =>
  special4.check(text) ? "special" : internal4.check(text) ? "internal" : "public"

describe("NetworkAddress", () => {
  it.each<[NetworkAddress.Reach, string]>([
    ["public", "8.8.8.8"],
    ["public", "1.1.1.1"],
    ["public", "100.63.255.255"],
    ["public", "100.128.0.0"],
    ["public", "172.15.255.255"],
    ["public", "172.32.0.0"],
    ["public", "192.167.255.255"],
    ["public", "192.169.0.0"],
    ["public", "169.253.255.255"],
    ["public", "223.255.255.255"],
    ["public", "2606:4700::1111"],
    ["public", "2a00:1450:4001::200e"],
    ["public", "64:ff9b::808:808"],
    ["public", "::ffff:8.8.8.8"],
    ["internal", "127.0.0.1"],
    ["internal", "127.255.255.254"],
    ["internal", "10.1.2.3"],
    ["internal", "100.64.0.1"],
    ["internal", "172.16.0.1"],
    ["internal", "172.31.255.255"],
    ["internal", "192.168.0.1"],
    ["internal", "::1"],
    ["internal", "fc00::1"],
    ["internal", "fdff::1"],
    ["internal", "::ffff:127.0.0.1"],
    ["internal", "::ffff:a00:1"],
    ["internal", "64:ff9b::7f00:1"],
    ["special", "0.0.0.0"],
    ["special", "0.1.2.3"],
    ["special", "169.254.169.254"],
    ["special", "169.254.170.2"],
    ["special", "100.100.100.200"],
    ["special", "168.63.129.16"],
    ["special", "192.0.0.192"],
    ["special", "fd00:ec2::254"],
    ["special", "fd20:ce::254"],
    ["special", "::ffff:169.254.169.254"],
    ["special", "64:ff9b::a9fe:a9fe"],
    ["special", "192.0.2.1"],
    ["special", "198.51.100.1"],
    ["special", "203.0.113.1"],
    ["special", "192.88.99.1"],
    ["special", "198.18.0.1"],
    ["special", "198.19.255.255"],
    ["special", "224.0.0.1"],
    ["special", "239.255.255.250"],
    ["special", "240.0.0.1"],
    ["special", "255.255.255.255"],
    ["special", "::"],
    ["special", "::7f00:1"],
    ["special", "::8.8.8.8"],
    ["special", "::ffff:0:7f00:1"],
    ["special", "64:ff9b:1::7f00:1"],
    ["special", "100::1"],
    ["special", "2001::1"],
    ["special", "2001:0:4136:e378:8000:63bf:80ff:fffe"],
    ["special", "2001:2::1"],
    ["special", "2001:20::1"],
    ["special", "2001:db8::1"],
    ["special", "2002:7f00:1::"],
    ["special", "2002:808:808::"],
    ["special", "3fff::1"],
    ["special", "3fff:fff::1"],
    ["public", "3fff:1000::1"],
    ["special", "64:ff9b::1:808:808"],
    ["special", "5f00::1"],
    ["special", "fe80::1"],
    ["special", "febf::1"],
    ["special", "fec0::1"],
    ["special", "ff02::1"],
    ["special", "2a00:1450::5efe:7f00:1"],
    ["special", "2a00:1450::200:5efe:a9fe:a9fe"],
    ["public", "2a00:1450::5efe:808:808"]
  ])("%s: %s", (reach, text) => {
    assert.strictEqual(reachOf(text), reach)
  })

  it.effect.prop("judges IPv4 as the registries do", [bytes(4)], ([octets]) =>
    Effect.sync(() => {
      const address = NetAddress.ipv4FromBytesUnsafe(new Uint8Array(octets))
      assert.strictEqual(NetworkAddress.reachOf(address), expected4(octets.join(".")))
    })
  )

  it.effect.prop("judges each special network of IPv4 whole, and its neighbours too", [bytes(4)], ([octets]) =>
    Effect.sync(() => {
      for (const first of ["0", "10", "100.64", "127", "169.254", "172.16", "192.0.0", "192.168", "198.18", "224"]) {
        const head = first.split(".").map(Number)
        const whole = [...head, ...octets].slice(0, 4)
        const beside = whole.with(head.length - 1, whole[head.length - 1]! ^ 1)
        for (const each of [whole, beside]) {
          const address = NetAddress.ipv4FromBytesUnsafe(new Uint8Array(each))
          assert.strictEqual(NetworkAddress.reachOf(address), expected4(each.join(".")), each.join("."))
        }
      }
    })
  )

  it.effect.prop("an IPv4 address inside IPv6 is no way around the judgement", [bytes(4), bytes(8)], ([v4, noise]) =>
    Effect.sync(() => {
      const inside = (...head: ReadonlyArray<number>) =>
        NetworkAddress.reachOf(
          NetAddress.ipv6FromBytesUnsafe(
            new Uint8Array([...head, ...Array<number>(12).fill(0)].slice(0, 12).concat(v4))
          )
        )
      const expected = expected4(v4.join("."))
      assert.strictEqual(inside(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255), expected)
      assert.strictEqual(inside(0, 0x64, 0xff, 0x9b), expected)
      assert.notStrictEqual(inside(), "public")
      assert.notStrictEqual(inside(0, 0, 0, 0, 0, 0, 0, 0, 255, 255), "public")
      assert.notStrictEqual(inside(0, 0x64, 0xff, 0x9b, 0, 1, ...noise.slice(0, 6)), "public")
      assert.notStrictEqual(inside(0x20, 0x02, ...v4, ...noise.slice(0, 6)), "public")
      assert.notStrictEqual(inside(0x20, 0x01, 0, 0, ...noise), "public")
      if (expected !== "public") assert.notStrictEqual(inside(0x2a, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0x5e, 0xfe), "public")
    })
  )

  it.effect.prop("of IPv6 nothing but global unicast is public", [bytes(16)], ([octets]) =>
    Effect.sync(() => {
      for (const head of [octets[0]!, 0x20, 0x26, 0x2a, 0x3f, 0xfc, 0xfe, 0xff, 0]) {
        const address = NetAddress.ipv6FromBytesUnsafe(new Uint8Array([head, ...octets.slice(1)]))
        const text = NetAddress.formatIp(address)
        const reach = NetworkAddress.reachOf(address)
        if (metadata6.check(text, "ipv6")) assert.strictEqual(reach, "special", text)
        else if (internal6.check(text, "ipv6")) assert.strictEqual(reach, "internal", text)
        else if (!public6.check(text, "ipv6") || special6.check(text, "ipv6"))
          assert.strictEqual(reach, "special", text)
        else assert.strictEqual(reach, "public", text)
      }
    })
  )

  it("knows an address from a name", () => {
    const literal = (text: string) => Option.map(NetworkAddress.literal(text), NetAddress.formatIp)
    assert.deepStrictEqual(literal("127.0.0.1"), Option.some("127.0.0.1"))
    assert.deepStrictEqual(literal("[::ffff:7f00:1]"), Option.some("::ffff:127.0.0.1"))
    for (const name of ["good.com", "127.0.0.1.good.com", "1.2.3", "[::1", "::1]x", "0x7f.1", "127.0.0.01", ""]) {
      assert.deepStrictEqual(literal(name), Option.none(), name)
    }
  })

  it.each<[NetworkAddress.Demand, string, ReadonlyArray<string>]>([
    ["covered", "good.com", ["8.8.8.8", "2606:4700::1111"]],
    ["named", "good.com", ["8.8.8.8", "10.0.0.1"]],
    ["named", "good.com", ["127.0.0.1"]],
    ["refused", "good.com", ["8.8.8.8", "169.254.169.254"]],
    ["refused", "good.com", ["10.0.0.1", "0.0.0.0"]],
    ["named", "169.254.169.254", ["169.254.169.254"]],
    ["named", "[fe80::1]", ["fe80::1"]],
    ["covered", "8.8.8.8", ["8.8.8.8"]]
  ])("demands that the URL is %s, for %s at %j", (demand, host, addresses) => {
    assert.strictEqual(NetworkAddress.demandOf(host, addresses.map(ip)), demand)
  })
})
