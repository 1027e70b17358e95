/**
 * Lease checks, ordinary and hostile.
 */
import { Result } from "effect"
import * as Lease from "../../../src/authority/Lease.ts"
import * as Operation from "../../../src/authority/Operation.ts"
import type * as Capability from "../../../src/protocol/Capability.ts"
import * as Peer from "../Peer.ts"
import * as Timing from "../Timing.ts"

const lease = (grants: Capability.Grants) => Result.getOrThrow(Lease.make(grants, {}, 0))

const asks = (lease: Lease.Lease, operation: Operation.Operation, covered: boolean) => () => {
  if (Result.isSuccess(Lease.authorize(lease, operation, 1)) !== covered) throw new Error("the lease was misjudged")
}

const ordinary = lease({
  "fs.read": ["/workspace/project/**", "/tmp/*.txt"],
  "net.fetch": ["https://*.example.com/**", "https://api.example.org/v1/*"],
  "tool.call": ["search.*", "calc"]
})
const path = "/workspace/project/src/runtime/Session.ts"
const url = "https://docs.example.com/guide/start?page=2"
const read = asks(ordinary, Operation.fsRead(path), true)
const fetch = asks(ordinary, Operation.netFetch(url), true)
const denied = asks(ordinary, Operation.fsRead("/etc/passwd"), false)

/** Patterns that are hard to rule out, each with a target of 1 KiB that it does not cover. */
const hostile = (patterns: ReadonlyArray<string>, target: string) =>
  asks(lease({ "tool.call": patterns }), Operation.toolCall(target), false)
const many = (count: number, pattern: string) => Array.from({ length: count }, () => pattern)
const onePart = "a".repeat(1024)
const manyParts = "a/".repeat(512)

const oneKiB = [
  hostile([`*${"a".repeat(510)}b*`], onePart),
  hostile([`*${"a".repeat(1021)}b*`], onePart),
  hostile([`${"a*".repeat(511)}b*`], onePart),
  hostile([`**/${"*a*/".repeat(255)}b`], manyParts),
  hostile([`**/${"*/".repeat(250)}b*`], manyParts),
  hostile([`${"**/a/".repeat(204)}b*`], manyParts)
]
const fullCapability = [
  hostile(many(16, `*${"a".repeat(508)}b*`), onePart),
  hostile(many(64, `${"**/a/".repeat(25)}b*`), manyParts),
  hostile(many(256, `*${"a".repeat(28)}b*`), onePart),
  hostile(many(256, `*${"a*".repeat(14)}b*`), onePart),
  hostile(many(256, `*${"aaa*".repeat(7)}b*`), onePart),
  hostile(many(256, `**/${"*/".repeat(13)}b*`), manyParts),
  hostile(many(256, `**/${"a/*/".repeat(6)}b*`), manyParts)
]

const worst = (checks: ReadonlyArray<() => void>, millis: number) =>
  Math.max(...checks.map((check) => Timing.micros(millis / checks.length, check)))

const pathPattern = /^\/workspace\/project(?:\/.*)?$|^\/tmp\/[^/]*\.txt$/
const holds = (value: boolean) => {
  if (!value) throw new Error("the pattern was misjudged")
}

const commands = {
  leases: ({ millis }: { readonly millis: number }) => ({
    read: Timing.rate(millis, read),
    fetch: Timing.rate(millis, fetch),
    denied: Timing.rate(millis, denied),
    oneKiB: worst(oneKiB, millis),
    fullCapability: worst(fullCapability, millis)
  }),
  platform: ({ millis }: { readonly millis: number }) => ({
    read: Timing.rate(millis, () => holds(pathPattern.test(path))),
    fetch: Timing.rate(millis, () => holds(URL.parse(url)?.hostname.endsWith(".example.com") === true)),
    denied: Timing.rate(millis, () => holds(!pathPattern.test("/etc/passwd")))
  })
}

export type Commands = typeof commands

Peer.serve(commands)
