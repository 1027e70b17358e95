/**
 * Which family of clients is at the other end. A runtime tells it by the hello, and minds those of its habits that decoding does not even out.
 *
 * @since 0.1.0
 */
import * as Feature from "./Feature.ts"
import type * as SessionMessage from "./SessionMessage.ts"

/**
 * The families of clients.
 *
 * - `effect`: our own; correlates every answer, may have many requests in flight.
 * - `ts`: takes a `session.error` for the end of everything, so refusals come as a `job.error` with an id of their own.
 * - `go`: reads an inline result from `output`.
 * - `echo`: matches answers by envelope id.
 * - `java`: as `echo`, and knows no `session.error`.
 * - `standard`: all others.
 *
 * @category models
 * @since 0.1.0
 */
export type Profile = "effect" | "ts" | "go" | "echo" | "java" | "standard"

const bareUlid = /^[0-9A-HJKMNP-TV-Z]{26}$/
const uuid7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i

/**
 * Which family the sender of this hello belongs to.
 *
 * @category conversions
 * @since 0.1.0
 */
export const recognize = (hello: SessionMessage.Hello): Profile => {
  const { capabilities, client } = hello.payload
  if (capabilities[Feature.declaration.key] !== undefined) return "effect"
  if (client.name === "arcp-client-java") return "java"
  if (hello.id.startsWith("msg_")) {
    return hello.timestamp === undefined && hello.span_id === undefined ? "ts" : "standard"
  }
  if (uuid7.test(hello.id)) return "go"
  return bareUlid.test(hello.id) ? "echo" : "standard"
}
