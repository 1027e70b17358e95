/**
 * A host's HTTP that keeps what it was asked to send, and a client behind a lease on top of it.
 */
import { assert } from "@effect/vitest"
import { Effect, Option, Result, Stream } from "effect"
import { Headers, type HttpClientError } from "effect/http"
import { NetAddress } from "effect/net"
import * as Lease from "../../src/authority/Lease.ts"
import * as LeaseGuard from "../../src/authority/LeaseGuard.ts"
import * as LeasedHttpClient from "../../src/leased/LeasedHttpClient.ts"
import * as PinnedHttp from "../../src/leased/PinnedHttp.ts"
import * as ArcpError from "../../src/protocol/ArcpError.ts"
import type * as Capability from "../../src/protocol/Capability.ts"

export interface Sent {
  /** Scheme, authority and target in one, as they were sent. */
  readonly url: string
  readonly address: string
  readonly host: string
  readonly port: number
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly length: number | undefined
  readonly body: string | undefined
}

export interface Reply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly setCookies?: ReadonlyArray<string>
  readonly body?: string | Stream.Stream<Uint8Array, PinnedHttp.PinnedHttpError>
}

export interface Options {
  /** Where names lead; one look-up after the other takes the next answer, and the last one stays. By default a public address. */
  readonly names?: Readonly<Record<string, ReadonlyArray<ReadonlyArray<string>>>>
  readonly reply?: (sent: Sent) => Reply | Effect.Effect<Reply, PinnedHttp.PinnedHttpError>
}

export interface FakeHttp {
  readonly http: PinnedHttp.PinnedHttp["Service"]
  readonly sent: Array<Sent>
  readonly resolved: Array<string>
  /** How many connections are open. */
  readonly open: () => number
}

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

const asText = Effect.map((parts: ReadonlyArray<Uint8Array>) =>
  new TextDecoder().decode(new Uint8Array(parts.flatMap((part) => [...part])))
)

export const make = ({ names = {}, reply = () => ({}) }: Options = {}): FakeHttp => {
  const sent: Array<Sent> = []
  const resolved: Array<string> = []
  let open = 0
  return {
    sent,
    resolved,
    open: () => open,
    http: PinnedHttp.PinnedHttp.of({
      resolve: (host) =>
        Effect.sync(() => {
          const answers = names[host] ?? [["93.184.215.14"]]
          const turn = resolved.filter((name) => name === host).length
          resolved.push(host)
          return (answers[turn] ?? answers.at(-1) ?? []).map(NetAddress.ipFromStringUnsafe)
        }),
      send: ({ address, authority, body, headers, host, method, port, secure, target }) =>
        Effect.gen(function* () {
          yield* Effect.acquireRelease(
            Effect.sync(() => open++),
            () => Effect.sync(() => open--)
          )
          const message: Sent = {
            url: `${secure ? "https" : "http"}://${authority}${target}`,
            address: NetAddress.formatIp(address),
            host,
            port,
            method,
            headers: { ...headers },
            length: body?.length,
            body: body && (yield* asText(Stream.runCollect(body.content)))
          }
          sent.push(message)
          const answer = reply(message)
          const { body: content = "", ...rest } = Effect.isEffect(answer) ? yield* answer : answer
          return {
            status: rest.status ?? 200,
            headers: Headers.fromInput(rest.headers ?? {}),
            setCookies: rest.setCookies ?? [],
            body: typeof content === "string" ? Stream.make(utf8(content)) : content
          }
        })
    })
  }
}

/** The client of a job with these patterns under `net.fetch`. */
export const leased = (
  http: PinnedHttp.PinnedHttp["Service"],
  patterns: ReadonlyArray<string> | Capability.Grants,
  options: LeasedHttpClient.Options & { readonly constraints?: Capability.Constraints } = {}
) => {
  const grants = Array.isArray(patterns) ? { "net.fetch": patterns } : (patterns as Capability.Grants)
  return Effect.map(LeaseGuard.make(Result.getOrThrow(Lease.make(grants, options.constraints ?? {}, 0))), (guard) =>
    LeasedHttpClient.make(http, guard, options)
  )
}

/** The protocol's error behind a failure that the lease is the cause of; any other outcome fails the test. */
export const denial = <A, R>(effect: Effect.Effect<A, HttpClientError.HttpClientError, R>) =>
  Effect.flip(effect).pipe(
    Effect.mapError((value) => new Error("the lease let it pass", { cause: value })),
    Effect.map((error) => {
      assert.strictEqual(error._tag, "HttpClientError")
      assert(ArcpError.isArcpError(error.cause), `not a refusal: ${error.message}`)
      assert.include(error.message, error.cause.message)
      return error.cause
    })
  )

/** Fails the test unless the lease refused. */
export const refused = <A, R>(effect: Effect.Effect<A, HttpClientError.HttpClientError, R>) =>
  Effect.map(denial(effect), (cause) => {
    assert.strictEqual(cause._tag, "PermissionDenied")
    return cause
  })

/** The reason of a failure that has nothing to do with the lease. */
export const failing = <A, R>(effect: Effect.Effect<A, HttpClientError.HttpClientError, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.isFalse(ArcpError.isArcpError(error.cause), error.message)
    return Option.getOrThrow(Option.some(error.reason))
  })
