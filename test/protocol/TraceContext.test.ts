import { assert, describe, it } from "@effect/vitest"
import { Option, Schema, Tracer } from "effect"
import * as TraceContext from "../../src/protocol/TraceContext.ts"

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
const spanId = "00f067aa0ba902b7"
const extended = (traceparent: unknown) => ({ [TraceContext.extension]: { traceparent } }) as never

const Hex = (length: number) =>
  Schema.Array(Schema.Literals([..."0123456789abcdef"]))
    .check(Schema.isBetweenLength(length, length))
    .check(Schema.makeFilter((digits) => digits.some((digit) => digit !== "0")))

describe("TraceContext", () => {
  it("reads the span that a peer tells of", () => {
    const span = Option.getOrThrow(TraceContext.read(extended(`00-${traceId}-${spanId}-01`)))
    assert.deepInclude(span, { _tag: "ExternalSpan", traceId, spanId, sampled: true })
    assert.isFalse(Option.getOrThrow(TraceContext.read(extended(`00-${traceId}-${spanId}-00`))).sampled)
  })

  it("finds none where none is well formed", () => {
    for (const extensions of [
      undefined,
      {},
      { [TraceContext.extension]: null },
      { [TraceContext.extension]: "00" },
      { [TraceContext.extension]: [] },
      extended(undefined),
      extended(7),
      extended(""),
      extended(traceId),
      extended(`00-${traceId}-${spanId}`),
      extended(`00-${traceId}-${spanId}-zz`),
      extended(`00-${traceId.toUpperCase()}-${spanId}-01`),
      extended(`00-${"0".repeat(32)}-${spanId}-01`),
      extended(`00-${traceId}-${"0".repeat(16)}-01`)
    ]) {
      assert.isTrue(Option.isNone(TraceContext.read(extensions)), JSON.stringify(extensions))
    }
  })

  it.prop(
    "comes back from what it is written as",
    { trace: Hex(32), span: Hex(16), sampled: Schema.Boolean },
    (ids) => {
      const span = Tracer.externalSpan({ traceId: ids.trace.join(""), spanId: ids.span.join(""), sampled: ids.sampled })
      const read = TraceContext.read(Option.getOrThrow(TraceContext.write(span)))
      assert.deepStrictEqual(Option.getOrThrow(read), span)
    }
  )

  it("tells of no span whose ids others could not read", () => {
    for (const ids of [
      { traceId: "noop", spanId: "noop" },
      { traceId, spanId: "7" },
      { traceId: "0".repeat(32), spanId }
    ]) {
      assert.isTrue(Option.isNone(TraceContext.write(Tracer.externalSpan(ids))), JSON.stringify(ids))
    }
  })
})
